"""Which call of the client makes a recorded request, and what it is to bring."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from prominence.client.calls import Listing
from prominence.client.submission import Submitted
from prominence.client.uploads import UploadPlace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from prominence import ProminenceClient

BASE = "/prominence/v1"


class NoCall(Exception):
    """The client has no call that makes this request."""


@dataclass(frozen=True)
class Call:
    """A method of the client with its arguments."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def made_by(self, client: ProminenceClient) -> Any:
        found = getattr(client, self.method)(*self.arguments, **self.options)
        if isinstance(found, Submitted):
            return found.id
        return found.entries if isinstance(found, Listing) else found

    def expected(self, body: bytes) -> Any:
        """What the method returns when this is the body of the answer."""
        return RESULTS.get(self.method, json.loads)(body)


@dataclass(frozen=True)
class Recorded:
    """A recorded request."""

    method: str
    path: str
    query: dict[str, str]
    body: str | bytes

    def has_query(self, *names: str) -> None:
        if sorted(self.query) != sorted(names):
            raise NoCall

    def description(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            raise NoCall from None
        if not isinstance(found, dict) or not isinstance(found.get("labels", {}), dict):
            raise NoCall
        return found


PLAIN = (  # calls without query and body
    ("GET", r"/jobs/(\d+)", "describe_job"),
    ("DELETE", r"/jobs/(\d+)", "delete_job"),
    ("PUT", r"/jobs/(\d+)/remove", "remove_job"),
    ("PUT", r"/jobs/(\d+)/clone", "clone_job"),
    ("GET", r"/jobs/(\d+)/snapshot", "get_snapshot_url"),
    ("GET", r"/workflows/(\d+)", "describe_workflow"),
    ("DELETE", r"/workflows/(\d+)", "delete_workflow"),
    ("PUT", r"/workflows/(\d+)", "rerun_workflow"),
    ("PUT", r"/workflows/(\d+)/remove", "remove_workflow"),
    ("PUT", r"/workflows/(\d+)/clone", "clone_workflow"),
    ("GET", r"/data(?:/(.+))?", "list_objects"),
    ("DELETE", r"/data/(.+)", "delete_object"),
    ("GET", r"/kv/(.+)", "kv_get"),
    ("DELETE", r"/kv/(.+)", "kv_delete"),
    ("GET", r"/health", "is_healthy"),
    ("GET", r"/resources", "resources"),
)


def call_for(request: dict[str, Any]) -> Call:
    """The call that makes a request of a cassette; raises NoCall where none does."""
    url = urlsplit(request["uri"])
    if not url.path.startswith(BASE):
        if request["method"] != "GET":
            raise NoCall
        return Call("download", (request["uri"],))
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    made = Recorded(request["method"], url.path.removeprefix(BASE), query, request["body"] or b"")
    if not query and not made.body:
        for method, path, name in PLAIN:
            if method == made.method and (found := re.fullmatch(path, made.path)):
                return Call(name, tuple(_argument(each) for each in found.groups() if each is not None))
    for method, path, builder in OTHERS:
        if method == made.method and (found := re.fullmatch(path, made.path)):
            return builder(made, *(_argument(each) for each in found.groups() if each is not None))
    raise NoCall


def _argument(text: str) -> int | str:
    return int(text) if text.isdecimal() else unquote(text)


def _listing(name: str) -> Callable[[Recorded], Call]:
    return lambda made: Call(name, (), _list_options(made.query))


def _list_jobs(made: Recorded) -> Call:
    if "since" in made.query:
        made.has_query("since", "wait")
        return Call("list_changed_jobs", (int(made.query["since"]), float(made.query["wait"])))
    if "workflow" not in made.query:
        return _listing("list_jobs")(made)
    made.has_query("workflow", "id", "all", *({"detail"} & set(made.query)))
    detail = {"detail": True} if "detail" in made.query else {}
    return Call("list_workflow_jobs", (_number(made.query["id"]),), detail)


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


def _delete_several(name: str) -> Callable[[Recorded], Call]:
    def call(made: Recorded) -> Call:
        made.has_query("id")
        return Call(name, (_ids(made.query["id"]),))

    return call


def _read_output(made: Recorded, job: int, stream: str) -> Call:
    place = {name: _number(value) for name, value in made.query.items()}
    if min(place.values(), default=0) < 0:
        raise NoCall  # refused by the client itself
    return Call("read_output", (job, stream), place)


def _execute(made: Recorded, job: int) -> Call:
    made.has_query("command")
    return Call("execute_command", (job, made.query["command"].split(",")))


def _create_snapshot(made: Recorded, job: int) -> Call:
    made.has_query("path")
    return Call("create_snapshot", (job, made.query["path"]))


def _kv_list(made: Recorded, prefix: str = "") -> Call:
    made.has_query("list", *({"values"} & set(made.query)))
    return Call("kv_values" if "values" in made.query else "kv_list", (prefix,))


def _kv_delete(made: Recorded, prefix: str) -> Call:
    made.has_query("prefix")
    return Call("kv_delete", (prefix,), {"prefix": True})


def _kv_post(made: Recorded, key: str) -> Call:
    try:
        value = made.body.decode() if isinstance(made.body, bytes) else made.body
    except UnicodeDecodeError:
        raise NoCall from None
    if not 1 <= len(value.encode()) <= 15_967:
        raise NoCall  # refused by the client itself
    if not made.query:
        return Call("kv_set", (key, value))
    made.has_query("prev")
    return Call("kv_swap", (key, value, made.query["prev"]))


def _create_upload(made: Recorded) -> Call:
    wanted = made.description()
    if set(wanted) != {"filename", "checksum"}:
        raise NoCall
    return Call("create_upload", (wanted["filename"], wanted["checksum"]))


def _usage(made: Recorded) -> Call:
    made.has_query("start", "end")
    return Call("usage", (made.query["start"], made.query["end"]))


OTHERS: tuple[tuple[str, str, Callable[..., Call]], ...] = (
    ("POST", r"/jobs", lambda made: Call("create_job", (made.description(),))),
    ("POST", r"/workflows", lambda made: Call("create_workflow", (made.description(),))),
    ("GET", r"/jobs", _list_jobs),
    ("GET", r"/workflows", _listing("list_workflows")),
    ("DELETE", r"/jobs", _delete_several("delete_jobs")),
    ("DELETE", r"/workflows", _delete_several("delete_workflows")),
    ("GET", r"/jobs/(\d+)/(stdout|stderr)", _read_output),
    ("POST", r"/jobs/(\d+)/exec", _execute),
    ("PUT", r"/jobs/(\d+)/snapshot", _create_snapshot),
    ("GET", r"/kv(?:/(.+))?", _kv_list),
    ("DELETE", r"/kv/(.+)", _kv_delete),
    ("POST", r"/kv/(.+)", _kv_post),
    ("POST", r"/data/upload", _create_upload),
    ("GET", r"/accounting", _usage),
)


def _ids(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise NoCall
    return [int(each) for each in text.split(",")]


def _number(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text):
        raise NoCall
    return int(text)


def _id(body: bytes) -> int:
    return int(json.loads(body)["id"])


def _merged(body: bytes) -> dict[str, str]:
    return {key: value for entry in json.loads(body) for key, value in entry.items()}


RESULTS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(("create_job", "create_workflow", "clone_job", "clone_workflow", "rerun_workflow"), _id),
    **dict.fromkeys(("read_output", "execute_command", "download"), bytes),
    **dict.fromkeys(
        ("delete_job", "delete_jobs", "delete_workflow", "delete_workflows", "kv_swap", "is_healthy"),
        lambda _: True,
    ),
    **dict.fromkeys(
        ("remove_job", "remove_workflow", "create_snapshot", "delete_object", "kv_set", "kv_delete"),
        lambda _: None,
    ),
    "create_upload": lambda body: UploadPlace(**json.loads(body)),
    "kv_get": bytes.decode,
    "kv_values": _merged,
    "get_snapshot_url": lambda body: json.loads(body)["url"],
    "usage": lambda body: json.loads(body)["usage"],
}
