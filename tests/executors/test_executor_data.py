"""Data of calls by size: small in the request, large as objects that are stored once."""

from __future__ import annotations

import gc
import mmap
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from requests.adapters import HTTPAdapter
from support.fake_service import FakeService, Received, Reply, says
from support.items import add_up, plus_length
from support.requests_sent import RequestsSent
from support.service import LocalService

from prominence import ProminenceClient, Session, Settings
from prominence.exceptions import CallUnreadable, LocalServiceError, ResultError, ServiceError
from prominence.settings import LocalSettings
from prominence_executors import ProminenceExecutor
from prominence_executors.calls.modules import Shipment
from prominence_executors.calls.objects import ObjectStore
from prominence_executors.calls.packing import CALL, RESULT, Packer
from prominence_executors.calls.results import Record
from prominence_executors.runner import main as runner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from requests import PreparedRequest, Response

ARRAY = np.arange(300_000, dtype=np.float64)
NUMBERS = list(range(60_000))


def stored_names(session: Session) -> set[str]:
    return {entry["name"] for entry in session.client.list_objects()}


def stored_before(executor: ProminenceExecutor, session: Session) -> set[str]:
    """What is stored once the modules of these tests have been sent, which may be large by now."""
    for call in (partial(plus_length, "", 0), lambda: None):
        executor.submit(call).result()
    return stored_names(session)


def sent_bytes(future: Any) -> int:
    return sum(len(each.read()) for each in future.job.input_files)


def _read_only(array: Any) -> Any:
    array.setflags(write=False)
    return array


BUFFERS: dict[str, Any] = {
    "ordered as C has it": ARRAY.reshape(500, 600),
    "ordered as Fortran has it": np.asfortranarray(ARRAY.reshape(500, 600)),
    "transposed": ARRAY.reshape(500, 600).T,
    "read-only": _read_only(ARRAY.copy()),
    "empty": np.zeros((0, 5)),
    "of no dimension": np.array(5.0),
    "with fields": np.ones(30_000, dtype=[("a", "f8"), ("b", "i4")]),
    "of the other byte order": ARRAY.astype(">f8"),
    "of times": np.arange(30_000).astype("datetime64[s]"),
    "of truths": np.ones(300_000, dtype=bool),
    "masked": np.ma.masked_less(ARRAY, 5),
}

NO_BUFFERS = {"of times", "masked"}  # which numpy itself puts into the pickle


class TestObjects:
    def test_an_array_is_stored_once_and_not_in_any_request(
        self, executor: ProminenceExecutor, session: Session
    ) -> None:
        before = stored_before(executor, session)

        futures = [executor.submit(add_up, ARRAY, more) for more in range(5)]

        expected = float(ARRAY.sum())
        assert [future.result() for future in futures] == [expected + more for more in range(5)]
        (name,) = stored_names(session) - before
        assert name.startswith("prominence-")
        assert name.endswith(".bin")
        assert all(sent_bytes(future) < 200_000 for future in futures)

    @pytest.mark.parametrize("value", [NUMBERS, dict.fromkeys(NUMBERS), bytes(200_000), "x" * 200_000])
    def test_large_arguments_of_any_kind_are_shared(
        self, value: Any, executor: ProminenceExecutor, session: Session
    ) -> None:
        before = stored_before(executor, session)

        futures = [executor.submit(plus_length, value, number) for number in range(3)]

        assert [future.result() for future in futures] == [len(value) + number for number in range(3)]
        assert all(sent_bytes(future) < 200_000 for future in futures)
        assert len(stored_names(session) - before) == 1

    def test_what_somebody_has_deleted_is_stored_again(
        self, executor: ProminenceExecutor, session: Session
    ) -> None:
        before = stored_before(executor, session)
        executor.submit(plus_length, NUMBERS, 1).result()
        for name in stored_names(session) - before:
            session.client.delete_object(name)

        with pytest.raises(ServiceError, match="does not exist"):
            executor.submit(plus_length, NUMBERS, 2).result()

        assert executor.submit(plus_length, NUMBERS, 3).result() == len(NUMBERS) + 3

    def test_what_a_function_captures_is_shared(self, executor: ProminenceExecutor, session: Session) -> None:
        before = stored_before(executor, session)
        table = {number: str(number) for number in range(20_000)}

        def look_up(number: int) -> tuple[str, float]:
            return table[number], float(ARRAY[number])

        futures = [executor.submit(look_up, number) for number in range(4)]

        assert [future.result() for future in futures] == [(str(n), float(n)) for n in range(4)]
        assert len(stored_names(session) - before) == 2

    def test_the_same_object_in_several_arguments_is_the_same_in_the_job(
        self, executor: ProminenceExecutor
    ) -> None:
        def compare(first: Any, second: Any, inside: dict[str, Any]) -> list[bool]:
            return [first is second, second is inside["it"]]

        small = [1]

        assert executor.submit(compare, NUMBERS, NUMBERS, {"it": NUMBERS}).result() == [True, True]
        assert executor.submit(compare, small, small, inside={"it": small}).result() == [True, True]

    def test_arrays_can_be_written_to_in_the_job_and_here(self, executor: ProminenceExecutor) -> None:
        def doubled(array: Any) -> Any:
            array *= 2
            return {"array": array, "part": array[::2], "small": array[:3]}

        result = executor.submit(doubled, ARRAY).result()

        assert np.array_equal(result["array"], 2 * ARRAY)
        assert np.array_equal(result["part"], 2 * ARRAY[::2])
        result["array"] += 1
        result["small"] += 1
        assert result["small"][0] == 1

    def test_what_is_changed_after_submit_is_sent_as_it_was(self, session: Session) -> None:
        with ProminenceExecutor(max_workers=1, session=session) as executor:
            first = executor.submit("sleep 600")
            array = np.ones(200_000)
            waiting = executor.submit(add_up, array)
            array[:] = 5
            first.kill()

            assert waiting.result() == 200_000

    def test_put_stands_for_the_object(self, executor: ProminenceExecutor, session: Session) -> None:
        stored = executor.put({"array": ARRAY, "text": "small"})
        before = stored_before(executor, session)

        def look(whole: Any, others: list[Any]) -> list[Any]:
            return [whole["text"], float(whole["array"][-1]), others[0] is whole, others[1]]

        futures = [executor.submit(look, stored, [stored, number]) for number in range(3)]

        assert [future.result() for future in futures] == [
            ["small", 299_999.0, True, number] for number in range(3)
        ]
        assert stored_names(session) == before

    def test_put_of_large_bytes_and_of_what_was_put(self, executor: ProminenceExecutor) -> None:
        content = os.urandom(300_000)

        inner = executor.put(content)
        outer = executor.put([inner, "more"])

        assert executor.submit(lambda given: given, outer).result() == [content, "more"]

    def test_what_cannot_be_put_is_told_at_once(self, executor: ProminenceExecutor) -> None:
        with pytest.raises(TypeError, match="lock"):
            executor.put(threading.Lock())

    def test_close_deletes_what_was_stored(self, session: Session) -> None:
        before = stored_names(session)
        executor = ProminenceExecutor(session=session)
        future = executor.submit(add_up, ARRAY)
        executor.put(NUMBERS)

        executor.close(delete=True)

        assert future.result() == float(ARRAY.sum())
        assert stored_names(session) == before

    def test_closing_leaves_results_and_what_was_stored(self, session: Session) -> None:
        executor = ProminenceExecutor(session=session)
        future = executor.submit(add_up, ARRAY)
        future.result()
        stored = stored_names(session)

        executor.close()

        assert stored_names(session) == stored
        content = future.job.get_output_file(RESULT, encoding=None)
        assert Record.parse(content).value("image") == float(ARRAY.sum())
        executor.close(delete=True)

    def test_large_data_is_in_no_request_or_answer_of_the_api(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        api: list[int] = []
        stored: list[tuple[str, int]] = []
        send = HTTPAdapter.send

        def note(adapter: HTTPAdapter, request: PreparedRequest, **options: Any) -> Response:
            response = send(adapter, request, **options)
            size = int(request.headers.get("Content-Length", 0)) + int(
                response.headers.get("Content-Length", 0)
            )
            if "Authorization" in request.headers:
                api.append(size)
            else:
                stored.append((str(request.method), size))
            return response

        array = np.ones(1_000_000)
        with (
            LocalService(tmp_path / "plain", cpus=2, memory=8, rough=True) as plain,
            Session(plain.settings()) as session,
            ProminenceExecutor(session=session) as executor,
        ):
            monkeypatch.setattr(HTTPAdapter, "send", note)
            results = [executor.submit(lambda given: given + 1, array).result() for _ in range(2)]

        assert all(float(result.sum()) == 2_000_000 for result in results)
        assert max(api) < 200_000
        large = [(method, size) for method, size in stored if size > 1_000_000]
        assert [method for method, _ in large] == ["POST", "GET", "GET"]  # the argument is sent once
        assert all(8_000_000 <= size < 8_010_000 for _, size in large)

    def test_where_files_are_shared_nothing_large_is_sent_at_all(self, executor: ProminenceExecutor) -> None:
        array = np.random.default_rng().random(100_000)
        with RequestsSent() as requests:
            result = executor.with_options(ship=None).submit(lambda given: given + 1, array).result()

        assert np.array_equal(result, array + 1)
        assert len(list(requests.matching("/data/placed"))) == 1
        assert list(requests.matching("/objects")) == []


class TestObjectStore:
    @pytest.fixture
    def fake(self) -> Iterator[FakeService]:
        with FakeService() as service:
            yield service

    def test_threads_that_need_the_same_object_wait_for_one_upload(self, fake: FakeService) -> None:
        names: list[str] = []
        is_asked, may_go_on = threading.Event(), threading.Event()

        def place(request: Received) -> Reply:
            names.append(request.json()["filename"])
            is_asked.set()
            may_go_on.wait(30)
            return says({"url": fake.url + "/put"}, 201)

        fake.script("POST", "/data/upload", place)
        fake.script("PUT", "/put", Reply())
        with ProminenceClient(fake.url, "a-token") as client, ThreadPoolExecutor(4) as threads:
            store = ObjectStore(client, "session")
            contents = {store.name_of(b"content"): b"content"}
            waiting = [threads.submit(store.ensure, contents) for _ in range(4)]
            is_asked.wait(30)
            may_go_on.set()
            for each in waiting:
                each.result(30)

        assert names == [
            "prominence-session-ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73.bin"
        ]

    def test_an_upload_that_failed_is_tried_again_by_the_next_call(self, fake: FakeService) -> None:
        answers = [says({"error": "no"}, 400), says({"url": fake.url + "/put"}, 201)]
        fake.script("POST", "/data/upload", lambda _: answers.pop(0))
        fake.script("PUT", "/put", Reply())
        with ProminenceClient(fake.url, "a-token") as client:
            store = ObjectStore(client, "session")
            contents = {store.name_of(b"content"): b"content"}

            with pytest.raises(ServiceError, match="no"):
                store.ensure(contents)
            store.ensure(contents)
            store.ensure(contents)

        assert not answers

    def test_what_waits_is_one_copy_for_all_who_need_it(self, fake: FakeService) -> None:
        fake.script("POST", "/data/upload", says({"url": fake.url + "/put"}, 201))
        fake.script("PUT", "/put", Reply())
        content = bytearray(b"content")
        with ProminenceClient(fake.url, "a-token") as client:
            store = ObjectStore(client, "session")
            name = store.name_of(memoryview(content))
            first, second = (store.keep(name, memoryview(content)) for _ in range(2))
            content[:] = b"changed"
            assert fake.received == []

            assert first is not None
            assert first is second
            store.ensure({name: first})
            afterwards = store.keep(name, memoryview(content))

        assert fake.received[-1].body == b"content"
        assert afterwards is None

    def test_a_copy_is_let_go_with_the_last_call_that_needs_it(self, fake: FakeService) -> None:
        with ProminenceClient(fake.url, "a-token") as client:
            store = ObjectStore(client, "session")
            kept = store.keep(store.name_of(b"content"), b"content")
            assert kept is not None
            copy = weakref.ref(kept)

            del kept
            gc.collect()

            assert copy() is None

    def test_where_the_service_takes_files_no_copy_waits(self, session: Session, tmp_path: Path) -> None:
        store = ObjectStore(session.client, tmp_path.name)
        content = os.urandom(200_000)
        name = store.name_of(content)

        assert store.keep(name, content) is None
        assert name in stored_names(session)
        store.delete_all()

    def test_what_cannot_be_stored_at_once_waits(self, tmp_path: Path) -> None:
        nowhere = LocalSettings(tmp_path / "file" / "below")
        (tmp_path / "file").touch()
        with ProminenceClient(settings=Settings(url=None, token=None, local=nowhere)) as client:
            store = ObjectStore(client, "session")
            kept = store.keep(store.name_of(b"content"), b"content")

            assert kept == b"content"
            with pytest.raises(LocalServiceError, match="cannot use the state directory"):
                store.ensure({"prominence-session-0.bin": kept})

    def test_a_call_that_waits_for_its_turn_has_its_data_stored(self, session: Session) -> None:
        with ProminenceExecutor(max_workers=1, session=session) as executor:
            before = stored_before(executor, session)
            first = executor.submit("sleep 600")
            waiting = executor.submit(plus_length, os.urandom(200_000), 1)

            assert len(stored_names(session) - before) == 1
            first.kill()
            assert waiting.result() == 200_001


class TestFiles:
    """From packing to the result, without a service."""

    @pytest.fixture
    def packer(self) -> Packer:
        elsewhere = ProminenceClient("http://127.0.0.1:9/prominence/v1", "token")
        return Packer(ObjectStore(elsewhere, "session"), Shipment(None))

    @pytest.fixture(autouse=True)
    def _in_scratch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", list(sys.path))

    def write(self, packed: Any, folder: Path) -> list[str]:
        for each in packed.files.input_files:
            (folder / each.filename).write_bytes(each.read())
        for artifact in packed.files.artifacts:
            (folder / artifact.name).write_bytes(packed.contents[artifact.name])
        return str(packed.files.command()).split()[2:]

    @pytest.mark.parametrize("size", [0, 1, 1_000, 99_999, 100_000, 250_000])
    def test_data_of_every_size_comes_back(self, size: int, packer: Packer, tmp_path: Path) -> None:
        values = [bytes(size), bytearray(size), "é" * size, np.ones(size, "u1"), [0] * size, {"k": (size,)}]
        packed = packer.call(lambda *given: list(given), values, {})

        assert runner.main(self.write(packed, tmp_path)) == 0

        found = Record.parse((tmp_path / RESULT).read_bytes()).value("image")
        assert [type(each) for each in found] == [type(each) for each in values]
        assert all(np.array_equal(here, there) for here, there in zip(values, found, strict=True))

    @pytest.mark.parametrize("name", BUFFERS)
    def test_buffers_of_every_kind_come_back_beside_the_pickle(
        self, name: str, packer: Packer, tmp_path: Path
    ) -> None:
        value = BUFFERS[name]
        packed = packer.call(
            lambda array: (array, array.flags.f_contiguous, array.flags.writeable), [value], {}
        )

        assert runner.main(self.write(packed, tmp_path)) == 0

        record = Record.parse((tmp_path / RESULT).read_bytes())
        found, *flags = record.value("image")
        assert flags == [value.flags.f_contiguous, value.flags.writeable]
        assert [found.flags.f_contiguous, found.flags.writeable] == flags
        assert (type(found), found.dtype, found.shape) == (type(value), value.dtype, value.shape)
        assert found.tobytes() == value.tobytes()
        call = next(each for each in packed.files.input_files if each.filename == CALL)
        assert len(call.read()) < 10_000
        assert (len(record.pieces[0]) < 10_000) == (name not in NO_BUFFERS)

    def test_a_memoryview_arrives_as_bytes(self, packer: Packer, tmp_path: Path) -> None:
        packed = packer.call(lambda given: given, [memoryview(bytearray(b"ab" * 100_000))], {})

        assert runner.main(self.write(packed, tmp_path)) == 0
        assert Record.parse((tmp_path / RESULT).read_bytes()).value("image") == b"ab" * 100_000

    def test_a_memory_map_is_refused(self, packer: Packer) -> None:
        with mmap.mmap(-1, 200_000) as mapped, pytest.raises(TypeError, match="mmap"):
            packer.call(len, [mapped], {})

    def test_an_object_that_is_damaged_is_not_used(self, packer: Packer, tmp_path: Path) -> None:
        packed = packer.call(len, [bytes(200_000)], {})
        arguments = self.write(packed, tmp_path)
        (tmp_path / packed.files.artifacts[0].name).write_bytes(bytes(199_999))

        assert runner.main(arguments) == 91
        with pytest.raises(CallUnreadable, match=r"be read in the job: ValueError: .* is damaged") as caught:
            Record.parse((tmp_path / RESULT).read_bytes()).value("image")
        assert "is damaged" in str(caught.value.__cause__)

    def test_a_chunk_tells_of_every_item_up_to_a_crash(self, packer: Packer, tmp_path: Path) -> None:
        chunks = [[(1,), (0,), (4,)], [(2,)]]
        packed = packer.chunks(lambda divisor: 4 / divisor, chunks)
        arguments = self.write(packed, tmp_path)

        assert runner.main([*arguments, "0"]) == 1
        content = (tmp_path / RESULT).read_bytes()

        def outcomes(content: bytes) -> list[Any]:
            _, *records = Record.parse_all(content)
            found = [each for record in records for each in record.item_outcomes("image")]
            return [each.value if each.error is None else type(each.error) for each in found]

        assert outcomes(content) == [4.0, ZeroDivisionError, 1.0]
        assert outcomes(content[:-1]) == [4.0, ZeroDivisionError]
        assert runner.main([*arguments, "1"]) == 0
        assert outcomes((tmp_path / RESULT).read_bytes()) == [2.0]

    def test_a_value_of_a_chunk_that_cannot_be_pickled_fails_alone(
        self, packer: Packer, tmp_path: Path
    ) -> None:
        packed = packer.chunks(lambda make: make(), [[(int,), (threading.Lock,), (str,)]])

        assert runner.main([*self.write(packed, tmp_path), "0"]) == 1
        _, *records = Record.parse_all((tmp_path / RESULT).read_bytes())
        first, second, third = (each for record in records for each in record.item_outcomes("image"))
        assert (first.value, third.value) == (0, "")
        assert isinstance(second.error, ResultError)
