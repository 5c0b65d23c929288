"""The session of one command, of which there are many in a terminal."""

from __future__ import annotations

from dataclasses import replace

from prominence.client.api import ProminenceClient
from prominence.session import Session
from prominence.settings import Settings


class CommandSession(Session):
    """Says once per terminal, not each time, that the local service is used."""

    def _make_client(self) -> ProminenceClient:
        return ProminenceClient(settings=replace(Settings.from_environment(), announce_once=True))
