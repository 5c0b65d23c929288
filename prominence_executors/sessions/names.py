"""Where a session keeps what: its labels, and its keys in the store."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from prominence.description.rules import CALL_LABEL, SESSION_LABEL
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from prominence import ProminenceClient

_NAME: Final = re.compile(r"[a-zA-Z0-9][\w.-]{0,63}", re.ASCII)
_NOT_LISTED: Final = "_internal_"  # services leave keys with it out of listings
_PARTS: Final = ("fences", "calls", "drivers", "lease")  # the lease last: it keeps others away


def check_session_name(name: str) -> None:
    """Raises InvalidDescription."""
    if not _NAME.fullmatch(name) or _NOT_LISTED in name:
        rule = "1 to 64 letters, digits, `-`, `_` and `.`, the first a letter or digit, without `_internal_`"
        raise InvalidDescription("session", name, rule)


def key(session: str, part: str, *rest: str) -> str:
    """A key of a session, or with no ``rest`` what all keys of that part begin with."""
    return "/".join(["prominence", session, part, *rest])


def marks(session: str, call: str | None = None) -> dict[str, str]:
    """The labels of a job of a session."""
    return {SESSION_LABEL: session} if call is None else {SESSION_LABEL: session, CALL_LABEL: call}


def delete_keys(client: ProminenceClient, session: str) -> None:
    """Forget a session; not by the part that is common to all, with which other sessions' keys may begin."""
    for part in _PARTS:
        client.kv_delete(key(session, part), prefix=True)
