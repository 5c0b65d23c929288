"""Replaying what a service said, request by request; nothing goes to the network."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import vcr
import yaml
from vcr.stubs import VCRHTTPResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vcr.cassette import Cassette
    from vcr.request import Request

from prominence.description.rules import SUBMISSION_LABEL

CASSETTES = Path(__file__).parents[2] / "cassettes"
LOCAL = CASSETTES / "local"
LOCAL_ADDRESS = "http://local.test"
REAL = tuple(sorted(path.stem for path in CASSETTES.glob("*.yaml")))
"""Cassettes of the real service."""
replayed: defaultdict[str, set[int]] = defaultdict(set)
"""Which of their exchanges some test has replayed so far."""
_DEFAULTS = {("node", "0"), ("offset", "0")}  # the same request, whether they are given or left out


def _query(made: Request, recorded: Request) -> None:
    assert _asked(made) == _asked(recorded)


def _asked(request: Request) -> set[tuple[str, str]]:
    """The query as services read it: any text switches a flag on."""
    query = parse_qsl(urlsplit(request.uri).query, keep_blank_values=True)
    return {(name, "true" if value == "True" else value) for name, value in query} - _DEFAULTS


def _body(made: Request, recorded: Request) -> None:
    assert _untagged(body_of(made)) == _untagged(body_of(recorded))


def body_of(request: Request) -> bytes | None:
    """Uploads are made of a file."""
    body: Any = request.body
    return body.read() if hasattr(body, "read") else body


@cache  # each request is compared with all recorded ones
def _untagged(body: bytes | None) -> Any:
    """The JSON in a body without the label that is new at each submission."""
    if not body:
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return body
    if isinstance(found, dict) and isinstance(found.get("labels"), dict):
        labels = {name: value for name, value in found["labels"].items() if name != SUBMISSION_LABEL}
        found = {name: value for name, value in found.items() if name != "labels"}
        if labels:
            found["labels"] = labels
    return found


def _range(made: Request, recorded: Request) -> None:
    assert made.headers.get("Range") == recorded.headers.get("Range")


_RECORDER = vcr.VCR(
    cassette_library_dir=str(CASSETTES),
    record_mode="none",
    match_on=[
        "method",
        "scheme",
        "host",
        "port",
        "path",
        "query without defaults",
        "body without tag",
        "range",
    ],
)
_RECORDER.register_matcher("query without defaults", _query)
_RECORDER.register_matcher("body without tag", _body)
_RECORDER.register_matcher("range", _range)


@contextmanager
def replay(name: str, *, again: bool = False) -> Iterator[Cassette]:
    """Answer requests from a cassette, each exchange once; any other request is an error.

    With ``again`` an exchange may be had again after its first time. Requests must come one at a time: vcrpy
    mixes up those of several connections.
    """
    with (
        mock.patch.object(VCRHTTPResponse, "read1", _read1),
        _RECORDER.use_cassette(f"{name}.yaml", allow_playback_repeats=again) as cassette,
    ):
        yield cassette
    if name in REAL:
        replayed[name] |= played(cassette)


@contextmanager
def recorded(
    path: Path,
    scrub_request: Callable[[Any], Any],
    scrub_response: Callable[[dict[str, Any]], dict[str, Any]],
) -> Iterator[Cassette]:
    """Write the exchanges that are had meanwhile to a new cassette, each as the scrubbers leave it."""
    with (
        mock.patch.object(VCRHTTPResponse, "read1", _read1),
        vcr.use_cassette(
            str(path),
            record_mode="all",
            before_record_request=scrub_request,
            before_record_response=scrub_response,
        ) as cassette,
    ):
        yield cassette


def played(cassette: Cassette) -> set[int]:
    """The exchanges that were replayed, by their place in the cassette."""
    return {index for index, count in cassette.play_counts.items() if count}


def _read1(self: VCRHTTPResponse, amount: int = -1, *, decode_content: bool = True) -> bytes:
    """As urllib3's, whose argument ``decode_content`` vcrpy does not know; recordings are not encoded."""
    assert decode_content is not None
    return bytes(self._content.read1(amount))


@cache
def exchanges(name: str) -> list[dict[str, Any]]:
    """The exchanges of a cassette, each with ``request`` and ``response``."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (CASSETTES / f"{name}.yaml").read_bytes()
    found: list[dict[str, Any]] = yaml.load(text, loader)["interactions"]  # noqa: S506 - both are safe
    return found


def summary() -> str:
    """How many of the real service's exchanges were replayed."""
    done = sum(len(replayed[name]) for name in REAL)
    return f"{done} of {sum(len(exchanges(name)) for name in REAL)} exchanges with a real service replayed"
