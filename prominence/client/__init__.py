"""How to talk to a PROMINENCE service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prominence.client.api import ProminenceClient

__all__ = ["ProminenceClient"]


def __getattr__(name: str) -> Any:
    if name != "ProminenceClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from prominence.client.api import ProminenceClient

    return ProminenceClient
