"""Every call of the client against every recorded exchange with a real service that it can have."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from support.recorded_calls import BASE, Call, NoCall, call_for
from support.recordings import REAL, exchanges, played, replay
from vcr.errors import CannotOverwriteExistingCassetteException

from prominence import ProminenceClient
from prominence.client.retry import Kind
from prominence.client.submission import Submission
from prominence.client.transport import Request
from prominence.exceptions import (
    AuthenticationError,
    FeatureDisabled,
    NotFound,
    PermissionDenied,
    ServiceError,
    ServiceUnavailable,
    WrongService,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prominence.exceptions import ProminenceError

EXCHANGES = {
    "clone_job": 4,
    "clone_workflow": 3,
    "create_job": 154,
    "create_snapshot": 8,
    "create_upload": 8,
    "create_workflow": 56,
    "delete_job": 16,
    "delete_jobs": 6,
    "delete_object": 7,
    "delete_workflow": 9,
    "describe_job": 57,
    "describe_workflow": 32,
    "download": 7,
    "execute_command": 16,
    "get_snapshot_url": 5,
    "is_healthy": 2,
    "kv_delete": 7,
    "kv_get": 8,
    "kv_list": 4,
    "kv_set": 5,
    "kv_swap": 4,
    "kv_values": 3,
    "list_jobs": 103,
    "list_objects": 7,
    "list_workflow_jobs": 23,
    "list_workflows": 12,
    "read_output": 96,
    "remove_job": 8,
    "remove_workflow": 4,
    "rerun_workflow": 4,
    "resources": 2,
    "usage": 2,  # both a 500: the recorded service had no database of accounts
}
"""How many recorded exchanges each method has."""

NOT_RECORDED = {
    "check_job_is_single": "no submission was recorded twice; its request is that of list_jobs by label",
    "check_workflow_is_single": "the same, with list_workflows",
    "close": "sends nothing",
    "download_to_file": "as download, which was recorded",
    "upload_object": "only its request for a place was recorded (create_upload), not what went to the store",
    "login": "talks to an identity provider",
    "delete_workflows": "nobody deleted several workflows at once; jobs were (delete_jobs)",
    "find_workflow_job": "asks list_workflow_jobs, which was recorded",
    "list_changed_workflows": "as list_changed_jobs",
    "list_changed_jobs": "only the local service has a feed of changes",
}
"""Methods without an exchange with the real service, and why."""

REFUSALS: dict[int, type[ProminenceError]] = {
    200: ServiceError,
    400: ServiceError,
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    405: WrongService,
    413: ServiceError,
    415: ServiceError,
    500: ServiceUnavailable,
}
ANSWERS_NO = ("No such job(s)", "No such workflow(s)", "Atomic replacement not successful")
SUBMISSIONS = ("create_job", "create_workflow")


def possible_calls(name: str) -> Iterator[tuple[int, Call, dict[str, Any]]]:
    """Place in the cassette, call and response of each exchange that the client can have.

    A submission that got a 5xx would be looked up, which was not recorded.
    """
    for index, exchange in enumerate(exchanges(name)):
        try:
            call = call_for(exchange["request"])
        except NoCall:
            continue
        response = exchange["response"]
        if not (response["status"]["code"] >= 500 and call.method in SUBMISSIONS):
            yield index, call, response


@pytest.mark.parametrize("name", REAL)
def test_every_recorded_call_brings_what_was_recorded(name: str, real: ProminenceClient) -> None:
    with replay(name) as answers:
        _check_calls(real, name, lambda status: status < 500)
    with replay(name, again=True) as failures:  # such requests are sent again
        _check_calls(real, name, lambda status: status >= 500)
    assert played(answers) | played(failures) == {index for index, _, _ in possible_calls(name)}


def _check_calls(real: ProminenceClient, name: str, is_meant: Callable[[int], bool]) -> None:
    for _, call, response in possible_calls(name):
        status, body = response["status"]["code"], response["body"]["string"]
        if is_meant(status):
            _check_call(real, call, status, body.encode() if isinstance(body, str) else body)


def _check_call(real: ProminenceClient, call: Call, status: int, body: bytes) -> None:
    refusal = _refusal(body)
    if refusal in ANSWERS_NO or status == 409:
        assert call.made_by(real) is False
    elif refusal is not None or status >= 400:
        _check_refused(lambda: call.made_by(real), status, refusal)
    else:
        assert call.made_by(real) == call.expected(body)


def _check_refused(call: Callable[[], object], status: int, refusal: str | None) -> None:
    with pytest.raises(_error(status, refusal)) as caught:
        call()
    assert type(caught.value) is _error(status, refusal)
    assert caught.value.status == status  # type: ignore[attr-defined]
    assert (refusal or "") in str(caught.value)


def impossible_requests(name: str) -> Iterator[tuple[Request, dict[str, Any]]]:
    """Requests that no method of the client makes, each with the response; most are malformed on purpose."""
    possible = {index for index, _, _ in possible_calls(name)}
    for index, exchange in enumerate(exchanges(name)):
        request, response = exchange["request"], exchange["response"]
        if index not in possible:
            url = urlsplit(request["uri"])
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            body = request["body"] or b""
            yield (
                Request(
                    request["method"],
                    url.path.removeprefix(BASE),
                    Kind.ONCE,
                    query,
                    body.encode() if isinstance(body, str) else body,
                    expect_json=_is_json(response),
                ),
                response,
            )


def _is_json(response: dict[str, Any]) -> bool:
    is_announced = "application/json" in response["headers"].get("Content-Type", ())
    return is_announced and bool(response["body"]["string"])  # none comes after HEAD


@pytest.mark.parametrize("name", [name for name in REAL if any(impossible_requests(name))])
def test_what_no_method_asks_for_is_answered_by_type(name: str, real: ProminenceClient) -> None:
    with replay(name) as cassette:
        for request, response in impossible_requests(name):
            status, body = response["status"]["code"], response["body"]["string"]
            body = body.encode() if isinstance(body, str) else body
            refusal = _refusal(body)
            if refusal is not None or status >= 400:
                _check_refused(lambda request=request: real._transport.send(request), status, refusal)  # type: ignore[misc]
            else:
                assert real._transport.send(request).body == body
    assert len(played(cassette)) == len(list(impossible_requests(name)))


def _error(status: int, refusal: str | None) -> type[ProminenceError]:
    if refusal == "Functionality disabled":
        return FeatureDisabled
    return WrongService if status == 404 and refusal is None else REFUSALS[status]


def _refusal(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("error") if isinstance(found, dict) else None


def test_every_method_of_the_client_was_recorded_or_says_why_not() -> None:
    methods = {name for name, _ in inspect.getmembers(ProminenceClient, inspect.isfunction) if name[0] != "_"}
    assert methods == EXCHANGES.keys() | NOT_RECORDED.keys()
    assert not EXCHANGES.keys() & NOT_RECORDED.keys()
    found = Counter(call.method for name in REAL for _, call, _ in possible_calls(name))
    assert dict(sorted(found.items())) == EXCHANGES


DIFFERENT: dict[str, Callable[[ProminenceClient], object]] = {
    "method": lambda real: real.delete_job(840),
    "path": lambda real: real.read_output(841, "stdout"),
    "query": lambda real: real.read_output(840, "stdout", offset=6),
    "body": lambda real: real.create_job(_submitted(name="another")),
    "range": lambda _: requests.get(_result_url(), headers={"Range": "bytes=5-"}, timeout=1),
    "a second time": lambda real: [real.read_output(840, "stdout") for _ in range(2)],
}


def _submitted(**changes: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(exchanges("executor-function-call")[0]["request"]["body"])
    return {**found, **changes}


def _result_url() -> str:
    uris = [exchange["request"]["uri"] for exchange in exchanges("executor-function-call")]
    return next(uri for uri in uris if "s3.test" in uri)


@pytest.mark.parametrize("difference", DIFFERENT)
def test_a_request_other_than_a_recorded_one_goes_nowhere(difference: str, real: ProminenceClient) -> None:
    request = DIFFERENT[difference]
    with replay("executor-function-call"), pytest.raises(CannotOverwriteExistingCassetteException):
        request(real)


def test_the_label_of_a_submission_makes_no_difference(real: ProminenceClient) -> None:
    with replay("executor-function-call"):
        assert real.create_job(_submitted(), submission=Submission("0123456789abcdef")).id == 840
