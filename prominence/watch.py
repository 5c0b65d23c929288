"""Following jobs: one thread per session asks for everything that anybody waits for.

::

    watch(id, ...)  -->  watched jobs  <--  the watcher thread, in rounds:
                                              embedded service: one long poll for all changes
                                              otherwise: one bulk request per hundred jobs,
                                                         then one with detail for those that ended
    listener(snapshot)  <--  called by that thread, outside of locks

The watcher knows ids and immutable snapshots. A job has ended when its status says so, never because of
an end time or an exit code: statuses go backwards when a job is tried again. A job that is missing from
one answer is asked for alone; real services lose jobs for a moment between their queue and their history.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from random import Random
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from prominence.exceptions import AuthenticationError, NotFound, ProminenceError
from prominence.feed import Feed
from prominence.logs import about, logger
from prominence.outage import Outage
from prominence.snapshot import Snapshot, log_state
from prominence.threads import InterruptibleCondition
from prominence.watched import CallbackWatch, Watch, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prominence.client.calls import Listing
    from prominence.clock import Clock
    from prominence.logs import About
    from prominence.sources import Source

log = logger(__name__)

OUTAGE_TOLERANCE_S: Final = 3600.0
_ALONE_PER_ANSWER: Final = 16  # of many that are missing, the others wait for their turn
_LONG_POLL_S: Final = 20.0
_SHORTEST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 15.0
_PAUSE_PER_ROUND: Final = 10.0
_PAUSE_PER_AGE: Final = 0.02
_CLOSE_S: Final = 1.0
_MANY: Final = 16  # of so many jobs, changes are gathered for a moment rather than fetched one by one
_GATHER_S: Final = 0.02
_IDLE_S: Final = 0.5


S = TypeVar("S", bound=Snapshot)


class Watcher(Generic[S]):
    """Tells listeners what becomes of their jobs (or workflows).

    Its thread lives only while there are some.
    """

    def __init__(
        self,
        source: Source[S],
        clock: Clock,
        random: Random | None = None,
        outage_tolerance_s: float = OUTAGE_TOLERANCE_S,
    ) -> None:
        self.clock = clock
        self._source = source
        self._random = random or Random()  # noqa: S311 - jitter is no secret
        self._condition = InterruptibleCondition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._jobs: dict[int, Watched[S]] = {}
        self._states_taken = 0
        self._feed: Feed[S] = Feed()
        self._unseen: set[int] = set()
        self._outage = Outage(outage_tolerance_s)

    def watch(
        self,
        job_id: int,
        on_change: Callable[[S], None],
        on_failure: Callable[[ProminenceError], None],
        revision: int | None = None,
        *,
        is_known: bool = True,
    ) -> Watch[S]:
        """Call ``on_change`` with each new state of a job, the last time when it has ended.

        ``on_failure`` is called instead when nothing more can be learned. Both are called in the watcher's
        thread, or in the caller's with what is known already. ``revision`` comes from the answer that the
        caller knows the job by, if it had one. Say ``is_known=False`` of an id that the service has not told:
        it is given up soon when it is missing.
        """
        watch = CallbackWatch(job_id, on_change, on_failure)
        self.add(watch, revision, is_known=is_known)
        return watch

    def add(self, watch: Watch[S], revision: int | None = None, *, is_known: bool = True) -> None:
        """The same for a watch of one's own kind."""
        job_id = watch.job_id
        with self._condition:
            if self._closed:
                raise ProminenceError("the session is closed: nothing is followed any more")
            self._start_thread()
            watched = self._jobs.setdefault(job_id, Watched(job_id, self.clock.monotonic(), is_known))
            watched.is_known = watched.is_known or is_known
            watched.watches += (watch,)
            recent = self._feed.recent(job_id)
            if recent is not None and recent.may_come_back:
                recent = None
            known = watched.latest = watched.latest or recent
            order = self._next_order()
            if known is not None and known.has_ended:
                self._let_go(watched)
            must_ask = known is None and not self._feed_covers(revision, job_id)
            if must_ask:
                self._unseen.add(job_id)
            asks_itself = must_ask and self._feed.cursor is not None  # the thread may be in a long poll
            self._condition.notify_all()
        if known is not None:
            self._tell([(watch, order, known)])
        elif asks_itself:
            with contextlib.suppress(ProminenceError):  # the thread asks again, and bears with outages
                self._ask_for([job_id])

    def unwatch(self, watch: Watch[S]) -> None:
        """Stop telling; the job is not affected."""
        with self._condition:
            watched = self._jobs.get(watch.job_id)
            if watched is None:
                return
            watched.watches = tuple(each for each in watched.watches if each is not watch)
            if not watched.watches:
                self._let_go(watched)

    def close(self) -> None:
        """Stop following everything, and wait for the thread's end if that is near."""
        with self._condition:
            self._closed = True
            left = [watch for watched in self._jobs.values() for watch in watched.watches]
            self._jobs.clear()
            thread = self._thread
            self._condition.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_CLOSE_S)  # in a long poll it ends a little later
        self._tell_failure(left, ProminenceError("the session was closed; the jobs are not affected"))

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="prominence-watcher", daemon=True)
            thread.start()  # it may fail: then nothing is watched
            self._thread = thread

    def _is_the_only_thread(self) -> bool:
        """False where Ctrl-C came when this one was just started, and another one was started after that."""
        with self._condition:
            self._thread = self._thread or threading.current_thread()
            return self._thread is threading.current_thread()

    def _feed_covers(self, revision: int | None, job_id: int) -> bool:
        """True when the feed brings, or has brought, all that happened after ``revision``."""
        if revision is None:
            return False
        others_ask = self._jobs.keys() <= self._unseen | {job_id}  # or are in an answer that is on its way
        if self._feed.cursor is None and self._source.has_feed and others_ask:
            self._feed.start(revision)
        return self._feed.covers(revision)

    def _run(self) -> None:
        if not self._is_the_only_thread():
            return
        try:
            while self._wait_for_work():
                started = self.clock.monotonic()
                try:
                    self._round()
                except ProminenceError as error:
                    self._bear_with(error)
                else:
                    if self._outage.note_answer(self.clock.monotonic()):
                        log.warning("%ss can be followed again", self._source.what)
                self._pause(self.clock.monotonic() - started)
        except BaseException as error:  # whoever waits must hear of it
            with self._condition:
                self._thread = None
            self._fail_all(ProminenceError(f"the watcher ended: {error!r}"))
            raise

    def _wait_for_work(self) -> bool:
        """True when there are jobs to follow; False when the thread is to end."""
        with self._condition:
            if not self._jobs and not self._closed:
                self.clock.wait(self._condition, _IDLE_S)
            if self._jobs and not self._closed:
                return True
            self._thread = None
            return False

    def _round(self) -> None:
        if self._feed.cursor is None:
            with self._condition:
                ids = list(self._jobs)
                self._unseen.clear()
            self._ask_for(ids)
            return
        with self._condition:
            unseen = [each for each in self._unseen if each in self._jobs]
            self._unseen.clear()
        if unseen:
            self._ask_for(unseen)
        self._follow_changes()

    def _follow_changes(self) -> None:
        """One poll, long if nothing else is to be done, for the changes of all jobs."""
        since = self._feed.cursor
        assert since is not None  # noqa: S101 - only called with one
        wait_s = 0.0 if self._unseen else _LONG_POLL_S  # some are to be asked for again soon
        listing = self._source.changes(since, wait_s)
        if listing.revision is None or listing.revision < since:
            with self._condition:  # another service, or one that lost its memory: start afresh
                self._feed.start(None)
            return
        self._feed.begin_page(listing.revision)
        self._take(self._source.snapshot(entry) for entry in listing.entries)
        self._feed.end_page()

    def _ask_for(self, ids: Sequence[int]) -> None:
        """Bulk requests for these jobs, then one with detail for those that have just ended."""
        ended: list[int] = []
        first_revision: int | None = None
        for part in self._source.parts(ids):
            listing = self._source.list(part)
            if first_revision is None:
                first_revision = listing.revision
            found = self._asked_for(listing, part)
            ask_again = [each.id for each in found if each.has_ended and self._source.has_detail]
            self._take([each for each in found if each.id not in ask_again])
            ended += ask_again
            self._missing(set(part) - {each.id for each in found})
        for part in self._source.parts(ended):
            detailed = self._asked_for(self._source.detail(part), part)
            self._take(detailed)
            with self._condition:
                self._unseen.update(set(part) - {each.id for each in detailed})
        with self._condition:
            if self._feed.cursor is None and self._source.has_feed:
                self._feed.start(first_revision)

    def _asked_for(self, listing: Listing, ids: Iterable[int]) -> list[S]:
        """Those that were asked for; some services answer with others too."""
        wanted = set(ids)
        return [self._source.snapshot(entry) for entry in listing.entries if entry.get("id") in wanted]

    def _missing(self, ids: set[int]) -> None:
        """Ask alone for jobs that a bulk answer left out; give up on those that stay away."""
        with self._condition:
            missing = [self._jobs[each] for each in ids if each in self._jobs]
            self._unseen.update(each.id for each in missing)
        missing.sort(key=lambda each: each.asked_alone)
        for watched in missing[:_ALONE_PER_ANSWER]:
            watched.asked_alone = self.clock.monotonic()
            found = self._asked_for(self._source.alone(watched.id), [watched.id])
            if found:
                with self._condition:
                    self._unseen.discard(watched.id)
                self._take(found)
            elif watched.is_lost(self.clock.monotonic()):
                text = f"the service does not know {self._source.what} {watched.id} (any more)"
                self._fail(watched.id, NotFound(text))

    def _take(self, snapshots: Iterable[S]) -> None:
        """Note new states and tell whoever waits for them."""
        news: list[tuple[Watch[S], int, S]] = []
        changed: list[S] = []
        with self._condition:
            for snapshot in snapshots:
                watched = self._jobs.get(snapshot.id)
                if watched is None:
                    self._feed.remember(snapshot)
                    continue
                watched.missing_since = None
                if watched.is_held(snapshot, self.clock.monotonic()):
                    self._unseen.add(snapshot.id)
                    continue
                if watched.latest is not None and snapshot.state == watched.latest.state:
                    continue
                watched.latest = snapshot
                order = self._next_order()
                news += [(watch, order, snapshot) for watch in watched.watches]
                changed.append(snapshot)
                if snapshot.has_ended:
                    self._let_go(watched)
        for snapshot in changed:
            log_state(self._about(snapshot.id), snapshot)
        self._tell(news)

    def _about(self, job_id: int) -> About:
        return about(log, self._source.what, job_id)

    def _let_go(self, watched: Watched[S]) -> None:
        del self._jobs[watched.id]
        if watched.latest is not None:
            self._feed.remember(watched.latest)

    def _next_order(self) -> int:
        """States are told in the order in which they were taken, also by several threads."""
        self._states_taken += 1
        return self._states_taken

    def _bear_with(self, error: ProminenceError) -> None:
        """Go on after a round that failed, for a long time but not for ever."""
        now = self.clock.monotonic()
        is_news = self._outage.note_trouble(error, now)
        was_refused = isinstance(error, AuthenticationError)
        if was_refused:
            self._fail_newcomers(error)
        end = self._outage.end_of_patience(error, now, self._source.what)
        if end is not None:
            self._fail_all(end)
        elif self._jobs:
            text = "cannot follow %ss at the moment: %s"
            if was_refused:
                text += "; log in again and the wait goes on: prominence login"
                log.log(logging.WARNING if is_news else logging.DEBUG, text, self._source.what, error)
            else:
                self._source.trouble.tell(log, text, self._source.what, error)
            with self._condition:
                self._unseen.update(self._jobs)

    def _fail_newcomers(self, error: ProminenceError) -> None:
        """A wait that begins with a bad token ends; one that began with a good one may get another."""
        with self._condition:
            newcomers = [
                each.id for each in self._jobs.values() if not self._outage.token_was_good_at(each.since)
            ]
        for job_id in newcomers:
            self._fail(job_id, error)

    def _pause(self, round_s: float) -> None:
        """Wait before the next round: longer where answers are slow or jobs are old."""
        with self._condition:
            if not self._outage.lasts and self._feed.cursor is not None and not self._unseen:
                if len(self._jobs) >= _MANY:
                    self.clock.wait(self._condition, _GATHER_S)
                return
            now = self.clock.monotonic()
            age = min((now - job.since for job in self._jobs.values()), default=0.0)
            pause = max(_SHORTEST_PAUSE_S, _PAUSE_PER_ROUND * round_s, _PAUSE_PER_AGE * age)
            pause = min(_LONGEST_PAUSE_S, pause) * self._random.uniform(0.9, 1.0)
            end = now + pause
            count = len(self._jobs)
            while not self._closed and (left := end - self.clock.monotonic()) > 0:
                self.clock.wait(self._condition, left)
                if len(self._jobs) > count:  # a younger job: look at all of them soon
                    count = len(self._jobs)
                    end = min(
                        end, self.clock.monotonic() + max(_SHORTEST_PAUSE_S, _PAUSE_PER_ROUND * round_s)
                    )

    def _fail(self, job_id: int, error: ProminenceError) -> None:
        with self._condition:
            watched = self._jobs.pop(job_id, None)
        self._tell_failure(watched.watches if watched else (), error)

    def _fail_all(self, error: ProminenceError) -> None:
        with self._condition:
            ids = list(self._jobs)
        for job_id in ids:
            self._fail(job_id, error)

    def _tell_failure(self, watches: Iterable[Watch[S]], error: ProminenceError) -> None:
        for watch in watches:
            try:
                watch.tell_failure(error)
            except Exception:  # one bad listener must not end the others' wait
                log_of_it = self._about(watch.job_id)
                log_of_it.exception("a listener failed")

    def _tell(self, news: Iterable[tuple[Watch[S], int, S]]) -> None:
        for watch, order, snapshot in news:
            try:
                watch.tell(order, snapshot)
            except Exception:  # one bad listener must not end the others' wait
                log_of_it = self._about(watch.job_id)
                log_of_it.exception("a listener failed")
