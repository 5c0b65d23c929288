"""What a job was given and what it left: files by name, from what the service says of the job."""

from __future__ import annotations

import base64
import posixpath
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from prominence.exceptions import NotFound
from prominence.replacing import check_replaceable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from os import PathLike
    from pathlib import Path
    from typing import Unpack

    from prominence.client.api import ProminenceClient
    from prominence.client.downloads import Known, Progress
    from prominence.snapshot import JobSnapshot

OutputKind = Literal["outputFiles", "outputDirs"]


def input_content(snapshot: JobSnapshot, name: str) -> bytes:
    """The content of an input file; raises NotFound where the job has none of that name."""
    inputs = snapshot.entry.get("inputs") or []
    for entry in inputs:
        if entry["filename"] == name:
            return base64.b64decode(entry["content"])
    raise _no_such("input file", name, inputs, "filename")


class Output(NamedTuple):
    """An output of a job; ``file_name`` is that of the stored file, empty where there is none."""

    kind: OutputKind
    name: str
    file_name: str


def outputs_of(snapshot: JobSnapshot) -> list[Output]:
    """Files and directories that the job was to leave."""
    kinds: tuple[OutputKind, ...] = ("outputFiles", "outputDirs")
    return [
        Output(kind, str(entry["name"]), _file_name(entry))
        for kind in kinds
        for entry in snapshot.entry.get(kind) or []
    ]


def missing_outputs(snapshot: JobSnapshot, *, besides: Collection[str] = ()) -> list[str]:
    """Names of the outputs that an ended job was to leave and that are not stored."""
    return [each.name for each in outputs_of(snapshot) if not each.file_name and each.name not in besides]


def output_entry(snapshot: JobSnapshot, kind: OutputKind, name: str) -> dict[str, Any]:
    """The service's entry of a stored output, with ``url`` and ``size``; raises NotFound without one.

    It is named by the path that was declared, by its base name, or by the name it was stored under: a job
    that a factory made lists its outputs as the template does (``out_$x``).
    """
    outputs: list[dict[str, Any]] = snapshot.entry.get(kind) or []
    for name_of in (_declared_name, _base_name, _stored_name):
        for entry in outputs:
            if name_of(entry, kind) != name:
                continue
            if not entry.get("url"):
                raise NotFound(f"output {name} of job {snapshot.id} was not stored (not yet, or not at all)")
            return entry
    raise _no_such("output", name, outputs, "name")


def _declared_name(entry: dict[str, Any], _kind: OutputKind) -> str:
    return str(entry["name"])


def _base_name(entry: dict[str, Any], _kind: OutputKind) -> str:
    return posixpath.basename(str(entry["name"]).rstrip("/"))


def _stored_name(entry: dict[str, Any], kind: OutputKind) -> str:
    stored = _file_name(entry)
    return stored.removesuffix(".tgz") if kind == "outputDirs" else stored


def _file_name(entry: dict[str, Any]) -> str:
    return posixpath.basename(unquote(urlsplit(entry.get("url") or "").path))


def fetch_output(
    client: ProminenceClient,
    known: JobSnapshot | None,
    describe: Callable[[], JobSnapshot],
    kind: OutputKind,
    name: str,
    *,
    save_as: str | PathLike[str] | None,
    progress: Progress | None,
) -> bytes | Path:
    """An output's bytes, or the path that it was saved to.

    Fetched by the URL that is ``known`` if there is one, and by a fresh one where that is refused. Raises
    OSError before anything is sent where that path cannot be written to.
    """
    if save_as is not None:
        check_replaceable(save_as)

    def described() -> dict[str, Any]:
        return output_entry(describe(), kind, name)

    entry = {}
    with suppress(NotFound):  # then it may be stored by now
        entry = output_entry(known, kind, name) if known else {}
    entry = entry or described()
    return fetch(
        client,
        entry["url"],
        save_as,
        renew=lambda: str(described()["url"]),
        size=entry.get("size"),
        service_path=entry.get("path"),
        progress=progress,
    )


def fetch(
    client: ProminenceClient, url: str, save_as: str | PathLike[str] | None, **known: Unpack[Known]
) -> bytes | Path:
    """The bytes behind a presigned URL, or the path that they were saved to."""
    if save_as is None:
        return client.download(url, **known)
    return client.download_to_file(url, save_as, **known)


def _no_such(what: str, name: str, entries: list[dict[str, Any]], key: str) -> NotFound:
    known = ", ".join(entry[key] for entry in entries) or "none"
    return NotFound(f"the job has no {what} {name!r}; it has {known}")
