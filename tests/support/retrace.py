"""Sending to a local service what was once sent to a real one, and comparing the two answers.

Ids are translated, and a request is held back until the jobs that its recorded answer calls running or
ended have come so far. What can differ from run to run is not compared: times, amounts, text that jobs
wrote, URLs.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from support.recordings import exchanges
from support.until import until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from support.service import LocalService

BASE = "/prominence/v1"
ENDED = {"completed", "failed", "deleted", "killed"}
_LOOKS_INTO = re.compile(r"/jobs/(\d+)/(exec|snapshot)")
_MAPS = {"env", "labels", "parameters", "fields"}  # their keys are data


class Retrace:
    """Goes through a recording.

    ``ids`` are those of jobs that were there before it began. ``left_out`` are requests that are not sent:
    here there is nobody to send those of another user or of a worker.
    """

    def __init__(
        self,
        service: LocalService,
        recording: str,
        ids: Mapping[int, int] | None = None,
        left_out: Collection[str] = (),
    ) -> None:
        self.service = service
        self.recording = recording
        self.ids = dict(ids or {})
        self.left_out = set(left_out)

    def differences(self) -> dict[str, list[str]]:
        """What is different, by request; repeated ones have a number from the second on."""
        found: dict[str, list[str]] = {}
        seen: dict[str, int] = {}
        for exchange in exchanges(self.recording):
            request = exchange["request"]
            if BASE not in request["uri"]:
                continue  # an object store's
            path = request["uri"].partition(BASE)[2]
            name = f"{request['method']} {path}{_shortened(request['body'])}"
            seen[name] = seen.get(name, 0) + 1
            name = name if seen[name] == 1 else f"{name} #{seen[name]}"
            if name in self.left_out:
                self.left_out.remove(name)
            elif different := list(self._compare(exchange, path)):
                found[name] = different
        return found

    def _compare(self, exchange: dict[str, Any], path: str) -> Iterator[str]:
        recorded, status = exchange["response"], exchange["response"]["status"]["code"]
        text = recorded["body"].get("string", "")
        expected = _json(text)
        self._wait_for(expected)
        if recorded["status"]["code"] == HTTPStatus.OK and (into := _LOOKS_INTO.match(path)):
            self._wait_until_begun(self._ours(int(into[1])))
        is_refused = status == HTTPStatus.UNAUTHORIZED and "Authentication" in text
        answer = self._send(exchange["request"], path, is_refused=is_refused)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            if answer.status_code != HTTPStatus.BAD_REQUEST or "error" not in answer.json():
                yield f"a server error is {answer.status_code} here"
        elif answer.status_code != status:
            yield f"{status} {text[:60]!r} is {answer.status_code} {answer.text[:60]!r} here"
        elif expected is not None:
            if status == HTTPStatus.CREATED and "id" in expected:
                self.ids[expected["id"]] = answer.json()["id"]
            yield from self._unlike(answer.json(), expected, "")
        elif path.startswith("/kv/") and answer.text != text:
            yield f"{text!r} is {answer.text!r} here"
        elif text and _media_type(answer.headers) != _media_type(recorded["headers"]):
            yield f"{_media_type(recorded['headers'])} is {_media_type(answer.headers)} here"

    def _send(self, request: dict[str, Any], path: str, *, is_refused: bool) -> requests.Response:
        given = {name: values[0] for name, values in request["headers"].items()}
        headers = {name: given[name] for name in ("Content-Type", "Authorization") if name in given}
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if token == "REDACTED" and not is_refused:
            headers["Authorization"] = f"{scheme} {self.service.endpoint.token}"
        url = self.service.endpoint.url + self._translated(path)
        return requests.request(
            request["method"], url, data=_quicker(request["body"]), headers=headers, timeout=30
        )

    def _translated(self, path: str) -> str:
        def translate(match: re.Match[str]) -> str:
            return match[1] + re.sub(r"\d+", lambda number: str(self._ours(int(number[0]))), match[2])

        return re.sub(
            r"(/jobs/|/workflows/|[?&]id=)([\d,%C ]+)",
            translate,
            path.replace("%2C", ",").replace("%20", " "),
        )

    def _ours(self, recorded: int) -> int:
        return self.ids.get(recorded, recorded)

    def _wait_for(self, expected: Any) -> None:
        """Until every job and workflow that the recorded answer has is as far as it was then."""
        for entry in expected if isinstance(expected, list) else ():
            if not isinstance(entry, dict) or entry.get("id") not in self.ids:
                continue
            kind = "jobs" if "tasks" in entry else "workflows"
            number = self._ours(entry["id"])
            if entry["status"] == "running" and kind == "jobs":
                self._wait_until_begun(number)
            if entry["status"] in ENDED:
                until(lambda kind=kind, number=number: self._described(kind, number)["status"] in ENDED)
            for event in entry["events"]:
                until(
                    lambda kind=kind, number=number, event=event: (
                        event in self._described(kind, number)["events"]
                    )
                )

    def _described(self, kind: str, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.service.get(f"/{kind}/{number}").json()[0]
        return found

    def _wait_until_begun(self, job: int) -> None:
        until(lambda: self.service.describe(job)["status"] != "idle")

    def _unlike(self, ours: Any, expected: Any, place: str) -> Iterator[str]:
        if isinstance(expected, dict) and isinstance(ours, dict):
            yield from self._unlike_object(ours, expected, place)
        elif isinstance(expected, list) and isinstance(ours, list):
            yield from self._unlike_list(ours, expected, place)
        elif place == "error":
            if ours != expected:
                yield f"error {expected!r} is {ours!r} here"
        elif _kind(ours) != _kind(expected):
            yield f"{place}: {expected!r} is {ours!r} here"
        elif place in {"status", "statusReason", "name"} and ours != expected:
            yield f"{place} {expected!r} is {ours!r} here"

    def _unlike_object(self, ours: dict[str, Any], expected: dict[str, Any], place: str) -> Iterator[str]:
        if place.rpartition(".")[2] in _MAPS:
            return
        if expected.get("status") not in {ours.get("status"), *ENDED}:
            return  # it was still waiting or running then
        prefix = f"{place}." if place else ""
        for key in sorted(expected.keys() - ours.keys()):
            yield f"no {prefix}{key}"
        for key in sorted(ours.keys() - expected.keys()):
            yield f"also {prefix}{key}"
        for key in expected.keys() & ours.keys():
            yield from self._unlike(ours[key], expected[key], prefix + key)

    def _unlike_list(self, ours: list[Any], expected: list[Any], place: str) -> Iterator[str]:
        if all(isinstance(each, dict) and "id" in each for each in [*ours, *expected]):
            self._learn(ours, expected)
            known = {self._ours(each["id"]): each for each in expected if each["id"] in self.ids}
            found = {each["id"]: each for each in ours if each["id"] in set(self.ids.values())}
            back = {number: recorded for recorded, number in self.ids.items()}
            if known.keys() != found.keys():
                yield f"jobs {sorted(map(back.get, known))} are {sorted(map(back.get, found))} here"
            for number in known.keys() & found.keys():
                yield from self._unlike(found[number], known[number], place)
        elif len(ours) != len(expected):
            yield f"{place or 'list'}: {len(expected)} entries are {len(ours)} here"
        else:
            for mine, theirs in zip(ours, expected, strict=True):
                yield from self._unlike(mine, theirs, place)

    def _learn(self, ours: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
        """Jobs that a workflow made are known by their names, where they differ."""
        names = [each["name"] for each in expected]
        for entry in expected:
            twins = [each["id"] for each in ours if each["name"] == entry["name"]]
            if entry["id"] not in self.ids and len(twins) == 1 and names.count(entry["name"]) == 1:
                self.ids[entry["id"]] = twins[0]


def _media_type(headers: Mapping[str, Any]) -> str:
    value = headers.get("Content-Type", "")
    return str(value if isinstance(value, str) else value[0]).partition(";")[0]


def _kind(value: Any) -> str:
    return "number" if isinstance(value, (int, float)) else type(value).__name__


def _json(text: str | bytes) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, (dict, list)) else None


def _quicker(body: str | bytes | None) -> bytes | None:
    """A request's body with jobs that sleep for tenths of seconds where it was seconds."""
    raw = body.encode() if isinstance(body, str) else body
    return raw and re.sub(rb"sleep (\d)\b", rb"sleep 0.\1", raw)


def _shortened(body: str | bytes | None) -> str:
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    return f" {text[:60]}" if text else ""
