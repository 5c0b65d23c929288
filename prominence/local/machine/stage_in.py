"""What goes into an attempt's scratch directory before its tasks run."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from prominence.local.engine import DEFAULT_DISK_GB
from prominence.local.machine import archives

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOWNLOAD_FAILED: Final = "Artifact download failed"
UNCOMPRESS_FAILED: Final = "Artifact uncompress failed"
_PLAIN_MODE: Final = 0o644
_EXECUTABLE_MODE: Final = 0o775
_TIMEOUTS_S: Final = (10, 30)  # to connect, and between bytes
_TRIES_AGAIN: Final = 2
_LONGEST_DETAIL: Final = 500  # names in archives may be of any length
_WORTH_A_TRY: Final = (429, 500, 502, 503, 504)


class StageInFailed(Exception):
    """``reason`` begins as the service's does, the text is for the job's standard error."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = f"{reason}: {detail[:_LONGEST_DETAIL]}"


def stage_in(
    job: Mapping[str, Any], objects: Mapping[str, str], scratch: Path, check: Callable[[], None]
) -> None:
    """Fetch and unpack the artifacts, then write the inputs, under their base names as the service does.

    ``objects`` tells where uploaded artifacts lie, by name. All together is bounded by the job's disk.
    Raises StageInFailed, and what ``check`` raises, which is asked now and then whether to go on.
    """
    room = archives.Room(job["resources"].get("disk", DEFAULT_DISK_GB) * 10**9, check)
    for artifact in job.get("artifacts") or []:
        _stage_artifact(artifact, objects, scratch, room)
    for entry in job.get("inputs") or []:
        target = scratch / Path(entry["filename"]).name
        target.write_bytes(base64.b64decode(entry["content"]))
        target.chmod(_EXECUTABLE_MODE if entry.get("executable") else _PLAIN_MODE)


def _stage_artifact(
    artifact: Mapping[str, Any], objects: Mapping[str, str], scratch: Path, room: archives.Room
) -> None:
    url = artifact["url"]
    try:
        name = artifact_name(url)
    except ValueError:
        raise StageInFailed(DOWNLOAD_FAILED, "an artifact's URL cannot be read") from None
    target = scratch / name
    target.unlink(missing_ok=True)
    try:
        if is_remote(url):
            download(url, lambda source: room.copy(source, target))
        else:
            with open(objects[url], "rb") as source:  # noqa: PTH123 - a path as text
                room.copy_file(source, target)
    except KeyError:
        raise StageInFailed(DOWNLOAD_FAILED, f"artifact {name}: there is no such object any more") from None
    except (DownloadFailed, archives.NoRoom, OSError) as error:
        raise StageInFailed(DOWNLOAD_FAILED, f"artifact {name}: {error}") from error
    if archives.is_archive(name):
        try:
            archives.unpack(target, scratch, room)
        except (archives.RefusedArchive, archives.NoRoom, OSError) as error:
            raise StageInFailed(UNCOMPRESS_FAILED, f"artifact {name}: {error}") from error
        target.unlink()
    else:
        target.chmod(_EXECUTABLE_MODE if artifact.get("executable") else _PLAIN_MODE)


def is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def artifact_name(url: str) -> str:
    """The name under which an artifact lies in the scratch directory."""
    path = unquote(urlsplit(url).path) if is_remote(url) else url
    return os.path.basename(path.rstrip("/")) or "artifact"  # noqa: PTH119 - URLs are no paths


class DownloadFailed(Exception):
    """A URL could not be read to its end; the text does not contain the URL, which may be a secret."""


def download(url: str, store: Callable[[archives.Readable], None]) -> None:
    """Give the body of a URL to ``store``; raises DownloadFailed, and whatever ``store`` raises."""
    import requests
    from urllib3.exceptions import HTTPError
    from urllib3.util import Retry

    retries = Retry(_TRIES_AGAIN, backoff_factor=0.5, status_forcelist=_WORTH_A_TRY, raise_on_status=False)
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=retries))
        session.auth = _no_credentials
        try:
            with session.get(
                url, stream=True, timeout=_TIMEOUTS_S, headers={"Accept-Encoding": "identity"}
            ) as answer:
                if not answer.ok:
                    raise DownloadFailed(f"{urlsplit(url).hostname} answered {answer.status_code}")
                answer.raw.enforce_content_length = True
                store(_AsItArrives(answer.raw))
        except (requests.RequestException, HTTPError) as error:
            raise DownloadFailed(f"{urlsplit(url).hostname}: {type(error).__name__}") from None


class _AsItArrives:
    """A response's body in pieces that do not wait to be full, so that a slow one can be given up."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def read(self, size: int, /) -> bytes:
        piece: bytes = self._raw.read1(size)
        return piece


def _no_credentials(request: Any) -> Any:
    """Keeps requests from sending what ``~/.netrc`` has for the host."""
    return request
