"""How to talk to a PROMINENCE service."""

from prominence.client.api import ProminenceClient
from prominence.client.calls import Listing
from prominence.client.job_calls import Stream

__all__ = ["Listing", "ProminenceClient", "Stream"]
