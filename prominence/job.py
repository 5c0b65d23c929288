"""A job with a life: submitted, waited for, read, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from prominence.artifact import Artifact
from prominence.description import JobDescription
from prominence.life import Life
from prominence.live import execute, take_snapshot, was_done
from prominence.outputs import fetch_output, input_content
from prominence.snapshot import Execution, JobSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from os import PathLike
    from pathlib import Path

    from prominence.client.calls import Listing
    from prominence.client.downloads import Progress
    from prominence.client.job_calls import Stream
    from prominence.client.submission import Submission, Submitted
    from prominence.outputs import OutputKind
    from prominence.session import Session
    from prominence.watch import Watcher


class Job(Life[JobSnapshot], JobDescription):  # type: ignore[misc]  # descriptions have no hash
    """A job of a PROMINENCE service.

    ``Job(name=..., tasks=[...])`` describes a new one, ``Job(id=123)`` attaches to one that exists. The
    service is that of ``session``, by default the one of the environment; it is not contacted before the
    first call that needs it.
    """

    _what = "job"
    _snapshot_type = JobSnapshot
    artifact_type: ClassVar[type[Artifact]] = Artifact

    def __init__(self, id: int | None = None, *, session: Session | None = None, **description: Any) -> None:  # noqa: A002
        JobDescription.__init__(self, **description)
        Life.__init__(self, id, session)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], session: Session | None = None) -> Self:
        """A new job that has this JSON; raises InvalidDescription where that has another structure."""
        made = super().from_dict(data)
        made._given_session = session  # noqa: SLF001 - of its own class
        return made

    @classmethod
    def attached(cls, entry: dict[str, Any], session: Session | None = None) -> Job:
        """A job that the service has, from its entry in a listing."""
        job = cls(id=int(entry["id"]), session=session, name=entry.get("name"))
        job._snapshot = JobSnapshot(entry)
        return job

    def _numbers(self, known: JobSnapshot) -> Mapping[str, object]:
        return {"exit codes": ", ".join(map(str, known.exit_codes))} if known.exit_codes else {}

    @property
    def execution(self) -> Execution:
        """What the service measured: site, times in seconds, peak memory in kB, exit code by task."""
        return Execution() if self._id is None else self._detailed().execution

    @property
    def exit_codes(self) -> tuple[int | None, ...]:
        """One exit code per task that ran; 255 is a command that was not found."""
        return () if self._id is None else self._detailed().exit_codes

    @property
    def succeeded(self) -> bool:
        """True when the job has completed and all its tasks ended with exit code 0."""
        return self._id is not None and self._detailed().succeeded

    def delete(self) -> bool:
        """End the job; False when it had ended before, or the service does not know it."""
        return self._session.client.delete_job(self._known_id())

    def remove(self) -> bool:
        """Take the ended job out of the queue (policy ``leave_in_queue``); False when it is not there."""
        return was_done(lambda: self._session.client.remove_job(self._known_id()))

    def clone(self) -> Job:
        """Submit the same job again; the new one.

        It is asked for once: SubmissionUncertain means that it may or may not have been made.
        """
        twin = Job(id=self._session.client.clone_job(self._known_id()), session=self._given_session)
        twin._is_known = True
        return twin

    def execute(self, command: str | Sequence[str]) -> str:
        """What a command prints that is run beside the running job, in its scratch directory.

        It runs outside of the container. Text is read by a shell there, words of a list are taken as they
        are; a comma cannot be sent. Raises ServiceError when the job does not run, or the command ends with
        another exit code than 0.
        """
        return execute(self._session.client, self._known_id(), command)

    @overload
    def get_snapshot(self, path: str, save_as: None = ..., *, progress: Progress | None = ...) -> bytes: ...
    @overload
    def get_snapshot(
        self, path: str, save_as: str | PathLike[str], *, progress: Progress | None = ...
    ) -> Path: ...
    def get_snapshot(
        self, path: str, save_as: str | PathLike[str] | None = None, *, progress: Progress | None = None
    ) -> bytes | Path:
        """A file or directory of the running job: a ``.tgz`` archive as bytes, or saved in a file.

        With ``save_as`` the path of that file, as :meth:`get_output_file`. Raises NotFound when there is no
        such file or directory.
        """
        return take_snapshot(self._session.client, self._known_id(), path, save_as, progress)

    def logs(self, *, follow: bool = False, stream: Stream = "stdout", node: int = 0) -> Iterator[str]:
        """The output so far, piece by piece; with ``follow`` until the job has ended.

        Output begins anew when the service starts the job again; a line in brackets says so. Following bears
        with outages as :meth:`wait` does. ``node`` counts from 0 in jobs of several nodes.
        """
        if not follow:
            return iter([str(self._read(stream, node, 0, "utf-8"))])
        return self._followed(self._known_id(), stream, node)

    @overload
    def stdout(self, node: int = ..., offset: int = ..., *, encoding: str = ...) -> str: ...
    @overload
    def stdout(self, node: int = ..., offset: int = ..., *, encoding: None) -> bytes: ...
    def stdout(self, node: int = 0, offset: int = 0, *, encoding: str | None = "utf-8") -> str | bytes:
        """The standard output so far, from a byte offset on; bytes with ``encoding=None``.

        What is not valid in the encoding is replaced by U+FFFD.
        """
        return self._read("stdout", node, offset, encoding)

    @overload
    def stderr(self, node: int = ..., offset: int = ..., *, encoding: str = ...) -> str: ...
    @overload
    def stderr(self, node: int = ..., offset: int = ..., *, encoding: None) -> bytes: ...
    def stderr(self, node: int = 0, offset: int = 0, *, encoding: str | None = "utf-8") -> str | bytes:
        """The standard error so far; see :meth:`stdout`."""
        return self._read("stderr", node, offset, encoding)

    @overload
    def get_input_file(self, name: str, *, encoding: str = ...) -> str: ...
    @overload
    def get_input_file(self, name: str, *, encoding: None) -> bytes: ...
    def get_input_file(self, name: str, *, encoding: str | None = "utf-8") -> str | bytes:
        """The content of an input file, as the service has it: text, or bytes with ``encoding=None``."""
        return _decoded(input_content(self._describe(), name), encoding)

    @overload
    def get_output_file(
        self, name: str, save_as: None = ..., *, encoding: str = ..., progress: Progress | None = ...
    ) -> str: ...
    @overload
    def get_output_file(
        self, name: str, save_as: None = ..., *, encoding: None, progress: Progress | None = ...
    ) -> bytes: ...
    @overload
    def get_output_file(
        self,
        name: str,
        save_as: str | PathLike[str],
        *,
        encoding: str | None = ...,
        progress: Progress | None = ...,
    ) -> Path: ...
    def get_output_file(
        self,
        name: str,
        save_as: str | PathLike[str] | None = None,
        *,
        encoding: str | None = "utf-8",
        progress: Progress | None = None,
    ) -> str | bytes | Path:
        """The content of an output file: text, or bytes with ``encoding=None``.

        With ``save_as`` the content goes to that file, in constant memory whatever its size, and the file's
        path is returned; it is there as a whole or not at all. ``progress(done, total)`` is called with
        numbers of bytes as they come. Raises NotFound where the job has no such output, or it was not stored.
        """
        found = self._output("outputFiles", name, save_as, progress)
        return _decoded(found, encoding) if isinstance(found, bytes) else found

    @overload
    def get_output_directory(
        self, name: str, save_as: None = ..., *, progress: Progress | None = ...
    ) -> bytes: ...
    @overload
    def get_output_directory(
        self, name: str, save_as: str | PathLike[str], *, progress: Progress | None = ...
    ) -> Path: ...
    def get_output_directory(
        self, name: str, save_as: str | PathLike[str] | None = None, *, progress: Progress | None = None
    ) -> bytes | Path:
        """An output directory: its ``.tgz`` archive as bytes, or saved as by :meth:`get_output_file`."""
        return self._output("outputDirs", name, save_as, progress)

    @property
    def _watcher(self) -> Watcher[JobSnapshot]:
        return self._session.watcher

    def _look_for_twins(self, submission: Submission) -> None:
        self._session.client.check_job_is_single(submission)

    def _jobs_to_prepare(self) -> Iterable[Job]:
        return [self]

    def _submit(self, description: dict[str, Any]) -> Submitted:
        return self._session.client.create_job(description, submission=self._submission)

    def _detailed(self) -> JobSnapshot:
        current = self._current()
        return current if current.is_detailed else self._refresh()

    def _described(self) -> Listing:
        return self._session.client.describe_job(self._known_id())

    def _followed(self, job_id: int, stream: Stream, node: int) -> Iterator[str]:
        from prominence.following import follow_output, pauses_until_news

        session = self._session
        with pauses_until_news(session.client, session.watcher, job_id) as pause:
            yield from follow_output(
                session.client,
                job_id,
                stream,
                node,
                self._current,
                pause=pause,
                outage_tolerance_s=session.outage_tolerance,
            )

    def _read(self, stream: Stream, node: int, offset: int, encoding: str | None) -> str | bytes:
        found = self._session.client.read_output(self._known_id(), stream, node=node, offset=offset)
        return _decoded(found, encoding)

    def _output(
        self, kind: OutputKind, name: str, save_as: str | PathLike[str] | None, progress: Progress | None
    ) -> bytes | Path:
        self._known_id()
        known = self._snapshot
        if known is not None and not (known.has_certainly_ended and known.is_detailed):
            known = None
        client = self._session.client
        return fetch_output(client, known, self._describe, kind, name, save_as=save_as, progress=progress)


def _decoded(content: bytes, encoding: str | None) -> str | bytes:
    return content.decode(encoding, "replace") if encoding else content
