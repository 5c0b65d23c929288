"""An artifact with a way into the store: uploaded once, then named by any number of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence.description import ArtifactDescription
from prominence.session import Session

if TYPE_CHECKING:
    from os import PathLike

    from prominence.client.downloads import Progress


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
        client = (session or Session.default()).client
        return client.upload_object(self.name, filename, progress=progress)
