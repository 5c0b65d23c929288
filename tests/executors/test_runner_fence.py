"""The fence from inside of a job: who may make a call, and who may not."""

from __future__ import annotations

import base64
import builtins
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import VirtualClock
from support.fake_service import RESET, FakeService, Received, Reply, cut_short, page, refuses, says
from support.recordings import exchanges

from prominence_executors.runner.fence import (
    ARRAY,
    COMMIT,
    COMMITTED,
    FREE,
    INTERRUPTED,
    NO_RERUN,
    OTHERS,
    OURS,
    PATIENCE_S,
    VARIABLE,
    Fence,
)
from prominence_executors.runner.store import LONGEST_VALUE, Away, Store, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.service import LocalService

KEY = "prominence/tests/fence/1"
NOT_REPLACED = refuses("Atomic replacement not successful")
DONE = says({}, 201)


class Key:
    """A key of the local service's store, and jobs that claim it."""

    def __init__(self, service: LocalService, name: str) -> None:
        self.name = f"prominence/tests/{name}"
        self._service = service

    def set(self, value: str) -> None:
        assert self._service.request("POST", f"/kv/{self.name}", data=value).status_code == 201

    def get(self) -> str:
        return self._service.get(f"/kv/{self.name}").text

    def fence(self, owner: str, *rules: str, gate: str | None = None) -> Fence:
        endpoint = self._service.endpoint
        return Fence(Store(endpoint.url, endpoint.token), self.name, owner, *rules, gate=gate)


@pytest.fixture
def key(service: LocalService, request: pytest.FixtureRequest) -> Key:
    found = Key(service, request.node.name.replace("[", "-").replace("]", ""))
    found.set(FREE)
    return found


@pytest.fixture
def fake() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


def fence_at(fake: FakeService, clock: VirtualClock, *rules: str) -> Fence:
    store = Store(fake.url, "a-token")
    return Fence(store, KEY, "17", *rules, monotonic=clock.monotonic, sleep=clock.sleep)


class TestOwner:
    def test_the_first_of_several_jobs_makes_the_call(self, key: Key) -> None:
        owners = [str(job) for job in range(1, 13)]

        with ThreadPoolExecutor(len(owners)) as threads:
            verdicts = list(threads.map(lambda owner: key.fence(owner).claim(), owners))

        assert sorted(verdicts) == [OTHERS] * 11 + [OURS]
        assert key.get().split(":")[0] == owners[verdicts.index(OURS)]

    def test_the_owner_may_enter_again_with_another_nonce(self, key: Key) -> None:
        first, second = key.fence("17"), key.fence("17")

        assert (first.claim(), second.claim()) == (OURS, OURS)

        assert key.get() == f"17:{second.nonce}"
        assert first.nonce != second.nonce
        assert key.fence("18").claim() == OTHERS

    def test_a_job_of_a_workflow_claims_for_the_workflow(self, key: Key, service: LocalService) -> None:
        environment = {
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
            "PROMINENCE_JOB_ID": "18",
            "PROMINENCE_WORKFLOW_ID": "17",
            VARIABLE: key.name,
        }

        assert Fence.of_job(environment).claim() == OURS
        assert Fence.of_job({**environment, "PROMINENCE_JOB_ID": "19"}).claim() == OURS
        assert key.get().startswith("17.19:")
        assert Fence.of_job({**environment, "PROMINENCE_WORKFLOW_ID": "16"}).claim() == OTHERS

    def test_nobody_enters_once_an_outcome_is_committed(self, key: Key) -> None:
        first = key.fence("17", COMMIT)
        first.claim()

        assert first.commit([b"outcome"], is_success=True)

        assert key.get() == f"17:{first.nonce}:{base64.b64encode(b'outcome').decode()}."
        assert key.fence("17").claim() == COMMITTED
        assert key.fence("18").claim() == OTHERS

    def test_nobody_enters_what_was_closed(self, key: Key) -> None:
        key.set("closed")

        assert key.fence("17").claim() == OTHERS

    def test_nobody_enters_what_was_deleted(self, service: LocalService) -> None:
        assert Key(service, "never-made").fence("17").claim() == OTHERS

    def test_a_run_that_was_overtaken_commits_nothing(self, key: Key) -> None:
        first, second = key.fence("17", COMMIT), key.fence("17", COMMIT)
        first.claim()
        second.claim()

        assert not first.commit([b"old"], is_success=True)
        assert key.get() == f"17:{second.nonce}"

    def test_what_must_not_run_again_does_not(self, key: Key) -> None:
        assert key.fence("17", NO_RERUN).claim() == OURS
        assert key.fence("17", NO_RERUN).claim() == INTERRUPTED

    @pytest.mark.parametrize(
        ("rules", "is_success", "is_committed"),
        [
            ((COMMIT,), True, True),
            ((COMMIT,), False, False),  # the service may try again
            ((COMMIT, NO_RERUN), False, True),
            ((), True, False),
        ],
    )
    def test_which_outcomes_are_committed_at_once(
        self, rules: tuple[str, ...], is_success: bool, is_committed: bool, key: Key
    ) -> None:
        fence = key.fence("17", *rules)
        fence.claim()

        assert fence.commit([b"outcome"], is_success=is_success) is is_committed

    def test_the_largest_outcome_that_is_committed(self, key: Key) -> None:
        fence = key.fence("17", COMMIT)
        fence.claim()
        largest = (LONGEST_VALUE - len(key.get()) - 2) // 4 * 3

        assert not fence.commit([bytes(largest + 1)], is_success=True)
        assert fence.commit([bytes(largest)], is_success=True)


class TestGate:
    """What the jobs of an array pass before they claim their calls."""

    @pytest.fixture
    def gate(self, key: Key, service: LocalService) -> Key:
        gate = Key(service, f"{key.name.rpartition('/')[2]}-gate")
        gate.set(FREE)
        return gate

    def test_one_of_several_workflows_makes_calls(self, key: Key, gate: Key) -> None:
        owners = [f"{workflow}.{workflow + 1}" for workflow in range(10, 50, 5)]

        with ThreadPoolExecutor(len(owners)) as threads:
            verdicts = list(threads.map(lambda owner: key.fence(owner, gate=gate.name).claim(), owners))

        assert sorted(verdicts) == [OTHERS] * 7 + [OURS]
        owner = owners[verdicts.index(OURS)]
        assert gate.get().split(":")[0] == key.get().split(":")[0] == owner

    def test_all_jobs_of_that_workflow_pass(self, gate: Key, service: LocalService) -> None:
        calls = [Key(service, f"call-{number}") for number in range(3)]
        for number, call in enumerate(calls):
            call.set(FREE)
            assert call.fence(f"17.{20 + number}", gate=gate.name).claim() == OURS
            assert call.fence(f"18.{30 + number}", gate=gate.name).claim() == OTHERS

        assert gate.get().startswith("17.20:")
        assert [call.get().split(":")[0] for call in calls] == ["17.20", "17.21", "17.22"]

    @pytest.mark.parametrize("value", ["closed", "16.17:0123456789abcdef"])
    def test_what_is_not_let_pass_claims_nothing(self, value: str, key: Key, gate: Key) -> None:
        gate.set(value)

        assert key.fence("17.18", gate=gate.name).claim() == OTHERS
        assert (key.get(), gate.get()) == (FREE, value)

    def test_calls_have_keys_in_pages(self, key: Key, service: LocalService) -> None:
        environment = {
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
            "PROMINENCE_JOB_ID": "18",
            "PROMINENCE_WORKFLOW_ID": "17",
            VARIABLE: f"{key.name} {ARRAY}",
        }
        array = key.name.removeprefix("prominence/tests/")
        names = {7: f"{array}/00/7", 99: f"{array}/00/99", 100: f"{array}/01/100", 4999: f"{array}/49/4999"}
        for name in [f"{array}/gate", *names.values()]:
            Key(service, name).set(FREE)

        for index, name in names.items():
            assert Fence.of_job(environment, index).claim() == OURS
            assert Key(service, name).get().startswith("17.18:")
        assert key.get() == FREE

    def test_without_an_answer_it_asks_again(self, fake: FakeService) -> None:
        clock = VirtualClock()
        fence = Fence(
            Store(fake.url, "a-token"),
            KEY,
            "17.18",
            gate="the/gate",
            monotonic=clock.monotonic,
            sleep=clock.sleep,
        )
        ours = Reply(body=f"17.18:{fence.nonce}".encode())
        cut_off = Reply(body=ours.body[:9])
        fake.script("GET", "/kv/the/gate", page(503), Reply(body=FREE.encode()), cut_off, ours)
        fake.script("POST", "/kv/the/gate", RESET, NOT_REPLACED)
        fake.script("POST", f"/kv/{KEY}", DONE)

        assert fence.claim() == OURS
        assert [request.path for request in fake.received][-1] == f"/kv/{KEY}"


class TestNetwork:
    """Answers that are lost, late or wrong."""

    def test_a_claim_whose_answer_was_lost_is_recognised(self, fake: FakeService) -> None:
        taken: list[str] = []

        def swap(request: Received) -> Reply:
            taken.append(request.body.decode())
            return RESET if len(taken) == 1 else NOT_REPLACED

        fake.script("POST", f"/kv/{KEY}", swap)
        fake.script("GET", f"/kv/{KEY}", lambda _: Reply(body=taken[0].encode()))

        assert fence_at(fake, VirtualClock()).claim() == OURS

    def test_a_commit_whose_answer_was_lost_is_recognised(self, fake: FakeService) -> None:
        values: list[str] = []

        def swap(request: Received) -> Reply:
            values.append(request.body.decode())
            return RESET if len(values) == 2 else (DONE if len(values) == 1 else NOT_REPLACED)

        fake.script("POST", f"/kv/{KEY}", swap)
        fake.script("GET", f"/kv/{KEY}", lambda _: Reply(body=values[-1].encode()))
        fence = fence_at(fake, VirtualClock(), COMMIT)
        fence.claim()

        assert fence.commit([b"outcome"], is_success=True)

    @pytest.mark.parametrize(
        "trouble",
        [
            RESET,
            page(502),
            page(404),
            refuses("Unable to connect to OIDC server", 401),
            cut_short({"error": "Atomic replacement not successful"}, status=400),
            Reply(body=b"zz\r\n", headers={"Transfer-Encoding": "chunked"}, sent=0),
        ],
        ids=["reset", "502", "404-page", "401", "cut", "bad-chunks"],
    )
    def test_trouble_is_borne_and_passes(self, trouble: Reply, fake: FakeService) -> None:
        clock = VirtualClock()
        fake.script("POST", f"/kv/{KEY}", trouble, trouble, DONE)

        assert fence_at(fake, clock).claim() == OURS
        assert 0.5 + 1 <= clock.elapsed <= 1 + 2

    def test_a_store_that_stays_away_is_given_up_after_five_minutes(self, fake: FakeService) -> None:
        clock = VirtualClock()
        fake.script("POST", f"/kv/{KEY}", page(503))

        with pytest.raises(Unusable, match="the store answered 503"):
            fence_at(fake, clock).claim()

        assert PATIENCE_S - 15 <= clock.elapsed <= PATIENCE_S
        assert PATIENCE_S == 300

    def test_a_store_that_nobody_listens_for(self) -> None:
        clock = VirtualClock()
        with FakeService(listening=False) as nobody, pytest.raises(Unusable, match="Connection refused"):
            fence_at(nobody, clock).claim()
        assert clock.elapsed > PATIENCE_S - 15

    def test_a_store_that_is_switched_off_is_given_up_at_once(self, fake: FakeService) -> None:
        clock = VirtualClock()
        fake.script("POST", f"/kv/{KEY}", refuses("Functionality disabled", 401))

        with pytest.raises(Unusable, match="Functionality disabled"):
            fence_at(fake, clock).claim()
        assert clock.elapsed == 0

    def test_the_token_goes_into_a_header_and_nowhere_else(self, fake: FakeService) -> None:
        fake.script("POST", f"/kv/{KEY}", refuses("Functionality disabled", 401))

        with pytest.raises(Unusable) as caught:
            fence_at(fake, VirtualClock()).claim()

        assert fake.received[0].headers["Authorization"] == "Bearer a-token"
        assert "a-token" not in str(caught.value)

    @pytest.mark.parametrize("size", [1, 5, 1000])
    def test_answers_in_chunks(self, size: int, fake: FakeService) -> None:
        value = b"17:0123456789abcdef"
        pieces = [value[start : start + size] for start in range(0, len(value), size)] + [b""]
        body = b"".join(f"{len(piece):x};x=y\r\n".encode() + piece + b"\r\n" for piece in pieces)
        chunked = {"Transfer-Encoding": "chunked"}
        fake.script("GET", f"/kv/{KEY}", Reply(body=body, headers=chunked, hang_up=True))

        assert Store(fake.url, "a-token").get(KEY) == value.decode()

    def test_chunks_that_break_off(self, fake: FakeService) -> None:
        chunked = {"Transfer-Encoding": "chunked"}
        fake.script("GET", f"/kv/{KEY}", Reply(body=b"4\r\n17:0\r\n", headers=chunked, hang_up=True))

        with pytest.raises(Away, match="incomplete"):
            Store(fake.url, "a-token").get(KEY)


class TestPlaces:
    """Where a job has no way to the store."""

    @pytest.mark.parametrize("url", ["", "local", "ftp://host/x"])
    def test_without_an_address_nothing_is_begun(self, url: str) -> None:
        environment = {"PROMINENCE_URL": url, "PROMINENCE_JOB_ID": "1", VARIABLE: KEY}
        with pytest.raises(Unusable, match="PROMINENCE_URL"):
            Fence.of_job(environment)

    def test_without_an_id_nothing_is_begun(self, fake: FakeService) -> None:
        with pytest.raises(Unusable, match="PROMINENCE_JOB_ID"):
            Fence.of_job({"PROMINENCE_URL": fake.url, VARIABLE: KEY})

    def test_a_python_without_ssl(self, fake: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(builtins, "__import__", _without("ssl", builtins.__import__))
        store = Store(fake.url.replace("http://", "https://"), "a-token")

        with pytest.raises(Unusable, match="no ssl module"):
            store.get(KEY)

    def test_a_certificate_that_is_not_accepted(
        self, fake: FakeService, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Refusing:
            def wrap_socket(self, connection: Any, server_hostname: str) -> None:
                connection.close()
                raise _not_accepted(server_hostname)

        monkeypatch.setattr(ssl, "create_default_context", Refusing)
        store = Store(fake.url.replace("http://", "https://"), "a-token")

        with pytest.raises(Unusable, match=r"certificate is not accepted: not for 127\.0\.0\.1"):
            store.get(KEY)

    @pytest.mark.parametrize(
        ("url", "parts"),
        [
            ("https://host.example/prominence/v1/", ("https", "host.example", 443, "/prominence/v1")),
            ("http://127.0.0.1:8000", ("http", "127.0.0.1", 8000, "")),
            ("http://[::1]/x", ("http", "::1", 80, "/x")),
            ("http://[::1]:81/x", ("http", "::1", 81, "/x")),
        ],
    )
    def test_addresses(self, url: str, parts: tuple[str, str, int, str]) -> None:
        store = Store(url, "")
        assert (store._scheme, store._host, store._port, store._path) == parts


def test_what_a_real_store_answers(fake: FakeService) -> None:
    """Two jobs that wanted the same key: the recorded answers, in their order."""
    claims = [each for each in exchanges("executor-kv-results") if "/fence/" in each["request"]["uri"]]
    _, first, second, owner, _ = (_reply(each["response"]) for each in claims)
    fake.script("POST", f"/kv/{KEY}", first, second)
    fake.script("GET", f"/kv/{KEY}", owner)

    store = Store(fake.url, "a-token")

    assert store.swap(KEY, "job-1", FREE)
    assert not store.swap(KEY, "job-2", FREE)
    assert store.get(KEY) == "job-1"


def _reply(recorded: dict[str, Any]) -> Reply:
    content_type = recorded["headers"]["Content-Type"][0]
    return Reply(recorded["status"]["code"], recorded["body"]["string"].encode(), content_type)


def _not_accepted(host: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_message = f"not for {host}"
    return error


def _without(module: str, imported: Callable[..., Any]) -> Callable[..., Any]:
    def lacking(name: str, *rest: Any, **options: Any) -> Any:
        if name == module:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *rest, **options)

    return lacking
