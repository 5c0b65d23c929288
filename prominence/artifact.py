"""An artifact with a way into the store: uploaded once, then named by any number of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence.description import ArtifactDescription

if TYPE_CHECKING:
    from os import PathLike

    from prominence.client.downloads import Progress
    from prominence.session import Session


class Artifact(ArtifactDescription):
    __doc__ = ArtifactDescription.__doc__

    def upload(
        self,
        filename: str | PathLike[str],
        *,
        progress: Progress | None = None,
        session: Session | None = None,
    ) -> str:
        """Store a file under the artifact's name; its SHA-256 in hex.

        ``progress(sent, size)`` is called as bytes go out. Raises InvalidDescription where the artifact is
        named by a URL, OSError where the file cannot be read, and what :meth:`ProminenceClient.upload_object`
        raises.
        """
        from prominence.session import Session

        client = (session or Session.default()).client
        return client.upload_object(self.name, filename, progress=progress)
