"""The client against what a real PROMINENCE service said, in the order in which it was said."""

from __future__ import annotations

import base64
import json
import pickle
import re
import threading
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.clock import VirtualClock
from support.recordings import CASSETTES, exchanges, replay
from vcr.errors import CannotOverwriteExistingCassetteException

from prominence import InputFile, Job, ProminenceClient, Resources, Session, Task
from prominence.client.answers import Answer, check
from prominence.client.retry import Happened, RequestFailed
from prominence.exceptions import (
    AuthenticationError,
    FeatureDisabled,
    NotFound,
    PermissionDenied,
    ServiceError,
    ServiceUnavailable,
    WrongService,
)
from prominence.snapshot import JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prominence.exceptions import ProminenceError

URL = "http://prominence.test/prominence/v1"
BUSYBOX = "busybox.sif"
LIMIT_S = 30.0


@pytest.fixture
def real(token: str, clock: VirtualClock) -> Iterator[ProminenceClient]:
    """A client of the recorded service."""
    with ProminenceClient(URL, token, clock=clock, random=Random(1)) as client:
        yield client


@pytest.fixture
def session(real: ProminenceClient, clock: VirtualClock) -> Iterator[Session]:
    with Session(client=real, clock=clock, random=Random(1)) as session:
        yield session


def recorded_job(session: Session, name: str, tag: str, command: str, **fields: Any) -> Job:
    """A job as the recordings have them; ``tag`` is in the label that they used."""
    return Job(
        session=session,
        name=name,
        labels={"session": "study1", "submission": tag},
        resources=Resources(cpus=fields.pop("cpus", 1), memory=1, disk=1, walltime=5),
        tasks=[Task(image=fields.pop("image", BUSYBOX), command=command)],
        **fields,
    )


# ---- every exchange that the client can have


class NoCall(Exception):
    """The client has no call that makes this request."""


def call_for(request: dict[str, Any]) -> Callable[[ProminenceClient], Any]:  # noqa: PLR0911 - one per call
    """The call that makes a recorded request."""
    url = urlsplit(request["uri"])
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.hostname != "prominence.test":
        return lambda client: client.download(request["uri"])
    route = url.path.removeprefix("/prominence/v1/").split("/")
    match request["method"], route:
        case "POST", ["jobs"]:
            return _create_call(request["body"])
        case "GET", ["jobs"]:
            options = _list_options(query)
            return lambda client: client.list_jobs(**options).jobs
        case "GET", ["jobs", job] if job.isdecimal():
            return lambda client: client.describe_job(int(job)).jobs
        case "GET", ["jobs", job, ("stdout" | "stderr") as stream]:
            place = {name: _number(value) for name, value in query.items()}
            return lambda client: client.read_output(int(job), stream, **place)
        case "DELETE", ["jobs", job]:
            return lambda client: client.delete_job(int(job))
        case "DELETE", ["jobs"] if query:
            ids = _ids(query["id"])
            return lambda client: client.delete_jobs(ids)
    raise NoCall


def _create_call(body: str | bytes) -> Callable[[ProminenceClient], Any]:
    try:
        description = json.loads(body or "")
    except ValueError:
        raise NoCall from None
    if not isinstance(description, dict) or not isinstance(description.get("labels", {}), dict):
        raise NoCall
    return lambda client: {"id": client.create_job(description).id}


def _list_options(query: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name, value in query.items():
        match name, value:
            case "id", _:
                options["ids"] = _ids(value)
            case "all", "true":
                options["everything"] = True
            case (("completed" | "detail"), "true"):
                options[name] = True
            case "num", _:
                options["num"] = _number(value)
            case "constraint", _ if re.fullmatch(r"[a-zA-Z0-9]+=[\w./-]+", value):
                options["label"] = tuple(value.split("=", 1))
            case (("name" | "status"), _) if "'" not in value and '"' not in value:
                options[name] = value
            case _:
                raise NoCall
    return options


def _ids(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise NoCall
    return [int(each) for each in text.split(",")]


def _number(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise NoCall
    return int(text)


REFUSALS = {
    400: ServiceError,
    401: AuthenticationError,
    403: PermissionDenied,
    200: ServiceError,
}

REPLAYED = {
    "executor-commands": 22,
    "executor-function-call": 9,
    "executor-cancel-and-logs": 22,
    "client-basic": 9,
    "live-operations": 35,
    "listing": 23,  # the client sends no name with a quote in it
    "errors": 76,
}


def possible_calls(name: str) -> Iterator[tuple[Callable[[ProminenceClient], Any], dict[str, Any]]]:
    """Calls for the exchanges of a cassette, with the recorded answers; 5xx would be asked again."""
    for exchange in exchanges(name):
        try:
            call = call_for(exchange["request"])
        except NoCall:
            continue
        if exchange["response"]["status"]["code"] < 500:
            yield call, exchange["response"]


@pytest.mark.parametrize("name", REPLAYED)
def test_every_recorded_call_brings_what_was_recorded(name: str, real: ProminenceClient) -> None:
    with replay(name) as cassette:
        for call, response in possible_calls(name):
            body = response["body"]["string"]
            body = body.encode() if isinstance(body, str) else body
            _check_call(lambda call=call: call(real), response["status"]["code"], body)  # type: ignore[misc]
    assert cassette.play_count == REPLAYED[name]


def _check_call(call: Callable[[], Any], status: int, body: bytes) -> None:
    refusal = _refusal(body)
    if refusal == "No such job(s)":
        assert call() is False
    elif refusal is not None:
        with pytest.raises(ServiceError) as caught:
            call()
        assert type(caught.value) is REFUSALS[status]
        assert caught.value.status == status
        assert refusal in str(caught.value)
    else:
        found = call()
        if found is not True:  # of a deletion
            assert found == (body if isinstance(found, bytes) else json.loads(body))


def _refusal(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("error") if isinstance(found, dict) else None


def test_a_request_that_was_not_recorded_goes_nowhere(real: ProminenceClient) -> None:
    with replay("executor-function-call"), pytest.raises(CannotOverwriteExistingCassetteException):
        real.describe_job(840)


def test_a_job_other_than_the_recorded_one_goes_nowhere(session: Session) -> None:
    with replay("executor-commands"), pytest.raises(CannotOverwriteExistingCassetteException):
        recorded_job(session, "ok", "another-label", "sh -c 'echo out; echo err >&2'").create()


# ---- lives of jobs


def test_a_function_call_from_submission_to_its_result(session: Session, real: ProminenceClient) -> None:
    tag = "72d8208059264f0ca9be444bd3c79402"
    runner = (
        "import pickle,sys,os\nf=pickle.load(open('call.pkl','rb'))\nprint('python',sys.version.split()[0])\n"
        "open('result.pkl','wb').write(pickle.dumps(('value',f['x']**2)))\n"
    )
    call = base64.b64decode("gASVCgAAAAAAAAB9lIwBeJRLB3Mu")
    inputs = [InputFile("runner.py", runner), InputFile("call.pkl", call)]
    job = recorded_job(
        session,
        "call-0",
        tag,
        "python3 runner.py",
        image="python.sif",
        input_files=inputs,
        output_files=["result.pkl"],
    )
    seen: list[JobSnapshot] = []
    ended = threading.Event()

    def look(snapshot: JobSnapshot) -> None:
        seen.append(snapshot)
        if snapshot.has_ended:
            ended.set()

    with replay("executor-function-call") as cassette:
        assert job.create() == 840
        found = real.list_jobs(everything=True, label=("submission", tag)).jobs
        assert [entry["id"] for entry in found] == [840]
        job.follow(look, lambda _: ended.set())
        assert ended.wait(LIMIT_S)
        session.watcher.close()
        result = real.download(seen[-1].entry["outputFiles"][0]["url"])
        assert pickle.loads(result) == ("value", 49)  # noqa: S301 - recorded by us
        assert job.stdout() == "python 3.13.5\n"
    assert [snapshot.status for snapshot in seen] == ["idle", "running", "completed"]
    assert job.succeeded
    assert job.exit_codes == (0,)
    assert cassette.all_played


COMMANDS = {
    "ok": ("e9b410bdbd1f468ca944843687b3268b", "sh -c 'echo out; echo err >&2'", []),
    "exit3": ("5ec55bc2cb6e49208a5cd3056315787d", "sh -c 'echo before; exit 3'", []),
    "nocmd": ("549e6a5094e64eaa87a42bbc3f0e587f", "no-such-command", []),
    "two": (
        "ca85046bd98045499dbf5c1d1dbf93db",
        "sh -c 'echo a > a.txt; echo b > b.txt'",
        ["a.txt", "b.txt"],
    ),
    "noout": ("231771ad156a42599c529378a5cba4be", "true", ["missing.txt"]),
}


def test_five_commands_and_how_they_ended(session: Session, real: ProminenceClient) -> None:
    jobs = [
        recorded_job(session, name, tag, command, output_files=outputs)
        for name, (tag, command, outputs) in COMMANDS.items()
    ]
    with replay("executor-commands") as cassette:
        ids = [job.create() for job in jobs]
        looks = [real.list_jobs(ids=ids).jobs for _ in range(6)]
        detail = real.list_jobs(ids=ids, detail=True).jobs
        outputs = [(job.stdout(), job.stderr()) for job in jobs]
    assert cassette.all_played
    assert [len(look) for look in looks] == [5, 5, 5, 5, 4, 5]  # one is on its way to the history
    found = {entry["name"]: JobSnapshot(entry) for entry in detail}
    assert {name: (each.status, each.exit_codes) for name, each in found.items()} == {
        "ok": ("completed", (0,)),
        "exit3": ("completed", (3,)),
        "nocmd": ("completed", (255,)),
        "two": ("completed", (0,)),
        "noout": ("failed", (0,)),
    }
    assert {name for name, each in found.items() if each.succeeded} == {"ok", "two"}
    assert found["noout"].reason == "Stageout failed due to no such file or directory"
    assert found["noout"].entry["outputFiles"] == [{"name": "missing.txt", "url": ""}]
    assert outputs[:2] == [("out\n", "err\n"), ("before\n", "")]
    assert "no-such-command" in outputs[2][1]


def test_output_is_read_while_the_job_runs_until_it_is_deleted(
    session: Session, real: ProminenceClient
) -> None:
    command = "sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; sleep 1; done'"
    job = recorded_job(session, "long", "5b03e46fe4274c44bb9ab04a731486c5", command)
    with replay("executor-cancel-and-logs") as cassette:
        assert job.create() == 858
        statuses, text = [], ""
        for _ in range(5):
            statuses.append(real.list_jobs(ids=[858]).jobs[0]["status"])
            text += job.stdout(offset=len(text))
        assert statuses == ["idle", "idle", "running", "running", "running"]
        assert text == "line 1\nline 2\nline 3\n"
        assert job.delete()
        assert not job.delete()
        assert real.list_jobs(ids=[858]).jobs[0]["status"] == "deleted"
        ended = JobSnapshot(real.list_jobs(ids=[858], detail=True).jobs[0])
        assert (ended.reason, "endTime" in ended.events) == ("Job deleted by user", True)
    assert cassette.play_count == 15


def test_waiting_jobs_are_deleted_together(session: Session, real: ProminenceClient) -> None:
    tags = (
        "6de2313b911a458599797ad033ce0ef2",
        "d94c5b4234fa498ebe934f53e5131240",
        "9f0786ca8fb5467a92917745526e011a",
    )
    with replay("executor-cancel-and-logs") as cassette:
        ids = [recorded_job(session, "toolarge", tag, "true", cpus=64).create() for tag in tags]
        assert {entry["status"] for entry in real.list_jobs(ids=ids).jobs} == {"idle"}
        assert real.delete_jobs(ids)
        assert {entry["status"] for entry in real.list_jobs(ids=ids).jobs} == {"deleted"}
        assert not real.delete_jobs(ids)
    assert cassette.play_count == 7


def test_a_deleted_job_is_waited_for_to_its_end(session: Session) -> None:
    """What was recorded between its submission and its end is seen by the watcher."""
    seen: list[str] = []
    ended = threading.Event()
    job = Job(id=858, session=session)

    def look(snapshot: JobSnapshot) -> None:
        seen.append(snapshot.status)
        if snapshot.has_ended:
            ended.set()

    with replay("executor-cancel-and-logs") as cassette:
        job.follow(look, lambda _: ended.set())
        assert ended.wait(LIMIT_S)
        session.watcher.close()
    assert seen == ["idle", "running", "deleted"]
    assert job.status == "deleted"
    assert cassette.play_count == 7


def test_the_first_example_of_the_services_own_client(session: Session) -> None:
    command = (
        'sh -c "echo hello; env | sort; pwd; id; ls -la; ls -la /tmp; df /home/user; echo err >&2; '
        'echo data > out.txt; mkdir d; echo x > d/f; cat in.txt"'
    )
    job = Job(
        session=session,
        name="client-basic",
        labels={"app": "demo", "run": "1"},
        resources=Resources(cpus=1, memory=1, disk=1, walltime=10),
        tasks=[Task(image=BUSYBOX, command=command)],
        input_files=[InputFile("in.txt", "input content\n")],
        output_files=["out.txt"],
        output_directories=["d"],
    )
    with replay("client-basic") as cassette:
        assert job.create() == 2
        assert [job.status, job.status] == ["running", "completed"]
        assert job.succeeded
        assert job.exit_codes == (0,)
        assert job.stdout().startswith("hello\nAPPTAINER_APPNAME=\n")
        assert job.stderr() == "err\n"
        assert job.get_input_file("in.txt") == "input content\n"
        with pytest.raises(NotFound, match=r"it has out\.txt"):
            job.get_output_file("other.txt")
        with pytest.raises(NotFound, match="it has d"):
            job.get_output_directory("other")
    assert cassette.play_count == 8


# ---- what answers mean


ERRORS = json.loads((Path(__file__).parent / "recorded_errors.json").read_text(encoding="utf-8"))

MEANINGS: dict[tuple[int, str], tuple[Happened, type[ProminenceError]] | None] = {
    (200, "JSON"): None,
    (200, "page"): None,
    (201, "JSON"): None,
    (204, "nothing"): None,
    (200, "nothing"): None,
    (200, "error"): (Happened.REFUSED, ServiceError),
    (400, "error"): (Happened.REFUSED, ServiceError),
    (400, "JSON"): (Happened.REFUSED, ServiceError),
    (400, "page"): (Happened.REFUSED, ServiceError),
    (401, "Authentication failure"): (Happened.REFUSED, AuthenticationError),
    (401, "Functionality disabled"): (Happened.REFUSED, FeatureDisabled),
    (403, "error"): (Happened.REFUSED, PermissionDenied),
    (404, "error"): (Happened.REFUSED, NotFound),
    (404, "page"): (Happened.REFUSED, WrongService),
    (405, "page"): (Happened.REFUSED, WrongService),
    (409, "JSON"): (Happened.REFUSED, ServiceError),
    (413, "page"): (Happened.REFUSED, ServiceError),
    (415, "page"): (Happened.REFUSED, ServiceError),
    (500, "page"): (Happened.SERVER_ERROR, ServiceUnavailable),
}


def body_of(row: dict[str, Any]) -> str:
    """What kind of body it is; of a 401 the text decides."""
    if not row["body"]:
        return "nothing"
    if "json" not in row["type"]:
        return "page"
    refusal = _refusal(row["body"].encode())
    if refusal is not None:
        return refusal if row["status"] == 401 else "error"
    return "JSON"


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: f"{row['stack']}: {row['label']}")
def test_what_a_recorded_answer_means(row: dict[str, Any]) -> None:
    kind = body_of(row)
    answer = Answer(row["status"], {"Content-Type": row["type"]}, row["body"].encode())
    expected = MEANINGS[row["status"], kind]
    if expected is None:
        assert check(answer, URL, VirtualClock(), expect_json=kind == "JSON") is answer
        return
    with pytest.raises(RequestFailed) as caught:
        check(answer, URL, VirtualClock(), expect_json=True)
    happened, error = expected
    assert caught.value.happened is happened
    assert type(caught.value.error) is error
    assert caught.value.error.status == row["status"]  # type: ignore[attr-defined]
    assert (_refusal(row["body"].encode()) or "") in str(caught.value.error)


def test_every_meaning_was_recorded() -> None:
    assert {(row["status"], body_of(row)) for row in ERRORS} == set(MEANINGS)


# ---- what may be kept


SECRETS = re.compile(
    r"""Bearer\ (?!REDACTED|garbage)\S
      | eyJ[\w-]{10,}\.
      | (?:Signature|AWSAccessKeyId|X-Amz-Signature)=(?!REDACTED)
      | "(?:AWSAccessKeyId|signature|policy|token|access_token)"\s*:\s*"(?!REDACTED)""",
    re.VERBOSE,
)


@pytest.mark.parametrize("text", ["Bearer eyJhbGciOi", "?Signature=abc", '"signature": "abc"'])
def test_the_search_for_secrets_finds_some(text: str) -> None:
    assert SECRETS.search(text)


def test_recordings_hold_no_secrets() -> None:
    recordings = [*CASSETTES.glob("*"), Path(__file__).parent / "recorded_errors.json"]
    assert len(recordings) > 5
    found = {path.name: SECRETS.findall(path.read_text(encoding="utf-8")) for path in recordings}
    assert {name: secrets for name, secrets in found.items() if secrets} == {}
