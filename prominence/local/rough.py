"""A service that makes it no easier for clients than a real one does (``--rough``), for tests of clients.

It has none of what the embedded service adds to the API, and the submission label is a label like any
other there (:class:`prominence.local.jobs.Jobs`, ``idempotent``): a repeated submission is another job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EXTRAS: Final = b"prominence-"


def roughened(app: ASGIApp) -> ASGIApp:
    """The same service without the headers that real ones do not send."""

    async def rough(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plain(message: Message) -> None:
            if message["type"] == "http.response.start":
                plain = [each for each in message["headers"] if not each[0].lower().startswith(_EXTRAS)]
                message = {**message, "headers": plain}
            await send(message)

        await app(scope, receive, send_plain)

    return rough
