"""Files that a job starts with: artifacts it fetches, and small files that travel in its JSON."""

from __future__ import annotations

import base64
import binascii
import os
import posixpath
from typing import TYPE_CHECKING, Any, ClassVar, Final

from prominence.description.base import Description
from prominence.description.rules_job import ARTIFACT_FIELDS, INPUT_FIELDS
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tar.bz2", ".tgz", ".tar", ".gz", ".bz2", ".zip")
"""Artifacts with one of these are unpacked by the service, and removed."""

_SHOWN_CONTENT: Final = 40


def directory_of(name: str) -> str:
    """The directory that an artifact of this name is taken to unpack into: its base name."""
    path = name.split("?", 1)[0].split("#", 1)[0] if "://" in name else name
    base = posixpath.basename(path.rstrip("/"))
    for suffix in ARCHIVE_SUFFIXES:
        if base.endswith(suffix) and base != suffix:
            return base.removesuffix(suffix)
    return base


class ArtifactDescription(Description):
    """A file or archive that a job fetches before its tasks start; archives are unpacked.

    - ``name``: an uploaded object's name, or a URL
    - ``directory_name``: the directory that the archive unpacks into; when it is not given, the
      archive's base name without its suffix is meant
    - ``mount_point``: absolute path at which tasks see that directory; without it the directory is
      only in the job's scratch directory
    - ``executable``: whether the file is made executable
    """

    _wire: ClassVar[Mapping[str, str]] = {
        "name": "url",
        "directory_name": "directory_name",
        "mount_point": "mount_point",
        "executable": "executable",
    }

    def __init__(
        self,
        name: str,
        directory_name: str | None = None,
        mount_point: str | None = None,
        *,
        executable: bool = False,
    ) -> None:
        self.name = name
        self.directory_name = directory_name
        self.mount_point = mount_point
        self.executable = executable

    def to_dict(self) -> dict[str, Any]:
        """The API's JSON as a new dict; ``mountpoint`` is ``directory:/absolute/path``."""
        found: dict[str, Any] = {"url": self.name}
        if self.mount_point:
            directory = self.directory_name or directory_of(str(self.name))
            found["mountpoint"] = f"{directory}:{self.mount_point}"
        if self.executable:
            found["executable"] = self.executable
        return found

    @classmethod
    def _fields(cls) -> Collection[str]:
        return ARTIFACT_FIELDS

    @classmethod
    def _attribute_of(cls, field: str) -> str:
        return "mount_point" if field == "mountpoint" else super()._attribute_of(field)

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        found = {"name": data.get("url", ""), "executable": data.get("executable", False)}
        mountpoint = data.get("mountpoint")
        if mountpoint is not None:
            if not isinstance(mountpoint, str) or ":" not in mountpoint:
                rule = "must be directory:/absolute/path"
                raise InvalidDescription("mountpoint", mountpoint, rule)
            found["directory_name"], _, found["mount_point"] = mountpoint.partition(":")
        return found

    def _left_out(self, attribute: str, value: object) -> bool:
        return super()._left_out(attribute, value) or value is False

    def _state(self) -> object:
        return self.to_dict()


class InputFile(Description):
    """A small file that travels in the job's JSON, which is at most 1 MiB in all.

    - ``filename``: the job sees the file under its base name, in the scratch directory
    - ``content``: text (sent as UTF-8) or bytes; an empty one is a content too. Without any, the
      file ``filename`` is read when it is needed, and again each time
    - ``executable``: whether the job can execute the file
    """

    _wire: ClassVar[Mapping[str, str]] = {
        "filename": "filename",
        "content": "content",
        "executable": "executable",
    }

    def __init__(
        self,
        filename: str | os.PathLike[str],
        content: str | bytes | None = None,
        *,
        executable: bool = False,
    ) -> None:
        self.filename = os.fspath(filename) if isinstance(filename, os.PathLike) else filename
        self.content = content
        self.executable = executable

    def read(self) -> bytes:
        """The content; raises `InvalidDescription` naming the file if it cannot be read."""
        content = self.content
        if content is None:
            return self._read_file()
        try:
            return content.encode() if isinstance(content, str) else bytes(memoryview(content))
        except (TypeError, UnicodeEncodeError) as error:
            rule = "must be bytes, or text that UTF-8 can express"
            raise InvalidDescription("content", content, rule) from error

    def _read_file(self) -> bytes:
        try:
            with open(self.filename, "rb") as file:  # noqa: PTH123 - lighter than pathlib
                return file.read()
        except (OSError, ValueError, TypeError) as error:
            reason = getattr(error, "strerror", None) or error
            rule = f"the input file cannot be read: {reason}"
            raise InvalidDescription("filename", self.filename, rule) from error

    def to_dict(self) -> dict[str, Any]:
        """The API's JSON as a new dict: the base name, and the content in base64.

        Reads the file, if the content is not set; see `read` for what happens if it cannot.
        """
        if not isinstance(self.filename, str):
            raise InvalidDescription("filename", self.filename, "must be a file name")
        found: dict[str, Any] = {
            "filename": os.path.basename(self.filename),  # noqa: PTH119 - not only for files here
            "content": base64.b64encode(self.read()).decode("ascii"),
        }
        if self.executable:
            found["executable"] = self.executable
        return found

    @classmethod
    def _fields(cls) -> Collection[str]:
        return INPUT_FIELDS

    @classmethod
    def _arguments(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        for name in ("filename", "content"):
            if not isinstance(data.get(name), str):
                raise InvalidDescription(name, data.get(name), "must be a string")
        try:
            # As the service does: what is not base64 at all is skipped.
            content = base64.b64decode(data["content"])
        except (binascii.Error, ValueError) as error:
            raise InvalidDescription("content", data["content"], f"not base64: {error}") from error
        return {**data, "content": content}

    def _left_out(self, attribute: str, value: object) -> bool:
        if attribute == "content":
            return value is None
        return super()._left_out(attribute, value) or value is False

    def _state(self) -> object:
        content = None if self.content is None else self.read()
        # A file that was not read is known by its whole path only.
        name = self.filename if content is None else os.path.basename(self.filename)  # noqa: PTH119
        return name, content, bool(self.executable)

    def _shown(self, attribute: str, value: object) -> str:
        shown = super()._shown(attribute, value)
        if attribute != "content" or len(shown) <= _SHOWN_CONTENT:
            return shown
        return f"{shown[:_SHOWN_CONTENT]}..."
