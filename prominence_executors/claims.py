"""What the fences of ended calls say, read together: those of one page of the store with one request.

::

    watcher, collectors      a fetcher thread                                   fetcher threads
    -------------------      ----------------                                   ---------------
    ask(fence, then)  -->    reads the key, or lists the page where several
                             were asked for; once more for those that were
                             asked for meanwhile                          -->   then(claim)

What is read for a call was asked for after its job was known to have ended: it is the last that the job said.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from prominence.exceptions import ProminenceError
from prominence.logs import logger
from prominence_executors.fence import Claim
from prominence_executors.runner.fence import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prominence import Session
    from prominence.threads import WorkThreads
    from prominence_executors.fence import Fence

log = logger(__name__)


class ClaimReader:
    """Reads fences in some threads; at most one request at a time for each page."""

    def __init__(self, session: Session, threads: WorkThreads) -> None:
        self._session = session
        self._threads = threads
        self._lock = threading.Lock()
        self._asked: dict[str, list[tuple[Fence, Callable[[Claim | None], None]]]] = {}
        """By page, while it is read."""

    def ask(self, fence: Fence, then: Callable[[Claim | None], None]) -> None:
        """Have ``then``, which must be quick, told what a fence says from now on; None where it is not known.

        Raises RuntimeError when no thread can be started.
        """
        with self._lock:
            is_read = fence.page in self._asked
            if not is_read:
                self._threads.add(partial(self._read_while_asked, fence.page))
            self._asked.setdefault(fence.page, []).append((fence, then))

    def _read_while_asked(self, page: str) -> None:
        while True:
            with self._lock:
                asked = self._asked[page]
                if not asked:
                    del self._asked[page]
                    return
                self._asked[page] = []
            claims = self._claims(page, [fence.key for fence, _ in asked])
            for fence, then in asked:
                then(claims.get(fence.key))

    def _claims(self, page: str, keys: Sequence[str]) -> dict[str, Claim]:
        client = self._session.client
        try:
            if len(keys) == 1:
                values = {keys[0]: client.kv_get(keys[0])}
            else:
                values = {key.lstrip("/"): value for key, value in client.kv_values(page).items()}
        except ProminenceError as error:
            log.info("the fences of page %s are read one by one: %s", page, error)
            return {}
        return {key: Claim(value) for key, value in values.items() if is_whole(value)}
