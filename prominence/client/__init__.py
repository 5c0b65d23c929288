"""How to talk to a PROMINENCE service."""

from prominence.client.api import Listing, ProminenceClient

__all__ = ["Listing", "ProminenceClient"]
