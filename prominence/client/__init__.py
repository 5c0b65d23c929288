"""How to talk to a PROMINENCE service."""

from prominence.client.api import ProminenceClient
from prominence.client.job_calls import Listing, Stream

__all__ = ["Listing", "ProminenceClient", "Stream"]
