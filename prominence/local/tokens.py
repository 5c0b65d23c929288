"""Tokens and presigned URLs of the embedded service, all signed with the secret in its state directory."""

from __future__ import annotations

import getpass
import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import jwt

from prominence.clock import MACHINE_CLOCK, Clock

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALGORITHM: Final = "HS256"
_CHECKED: Final[Any] = {"require": ["exp", "username", "groups"], "verify_exp": False}
_USER_TOKEN_S: Final = 365 * 86400
_JOB_TOKEN_EXTRA_S: Final = 10 * 86400  # as the real service: ten days, and twice the walltime
_REMEMBERED: Final = 1024
_MOST_DIGITS: Final = 15
OUTPUT_URL_S: Final = 7 * 86400
UPLOAD_URL_S: Final = 600


class Signer:
    """Makes and checks tokens (JSON Web Tokens, HS256) and URLs that need no token."""

    def __init__(self, secret: str, clock: Clock = MACHINE_CLOCK) -> None:
        self._key = secret.encode()
        self._clock = clock
        self.user = getpass.getuser()
        self._known: dict[bytes, dict[str, Any]] = {}

    def user_token(self) -> str:
        return self._token(_USER_TOKEN_S)

    def job_token(self, job: int, walltime_s: float) -> str:
        return self._token(_JOB_TOKEN_EXTRA_S + 2 * walltime_s, job=job)

    def accepted(self, token: str) -> dict[str, Any] | None:
        """What a token says of who carries it; None for one that is not ours, or not valid any more."""
        claims = self._claims(token)
        return claims if claims is not None and float(claims["exp"]) > self._clock.time() else None

    def wears_out(self, token: str) -> bool:
        """True for one of our tokens whose time is half over, or past: a new one should take its place."""
        claims = self._claims(token)
        return claims is None or float(claims["exp"]) - self._clock.time() < _USER_TOKEN_S / 2

    def expiry(self, lifetime_s: float) -> int:
        """When what is signed now for so long is valid no more (Unix epoch)."""
        return int(self._clock.time() + lifetime_s)

    def sign_path(self, path: str, expires: int, method: str) -> str:
        """The query that lets anybody use ``path`` with ``method`` until ``expires`` (Unix epoch)."""
        return urlencode({"Expires": expires, "Signature": self.signature(path, expires, method)})

    def accepts_path(self, path: str, query: Mapping[str, str], method: str) -> bool:
        return self.accepts_signature(query.get("Signature", ""), path, query.get("Expires", ""), method)

    def signature(self, path: str, expires: int, method: str, content: str = "") -> str:
        """What proves that a use of ``path`` was allowed; ``content`` says what may be sent there."""
        text = f"{method}\n{quote(path)}\n{expires}\n{quote(content)}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def accepts_signature(self, given: str, path: str, expires: str, method: str, content: str = "") -> bool:
        if not expires.isdecimal() or len(expires) > _MOST_DIGITS or int(expires) < self._clock.time():
            return False
        expected = self.signature(path, int(expires), method, content)
        return hmac.compare_digest(expected.encode(), given.encode())

    def _token(self, lifetime_s: float, **extra: Any) -> str:
        claims = {"username": self.user, "groups": self.user, "exp": self.expiry(lifetime_s), **extra}
        return jwt.encode(claims, self._key, _ALGORITHM)

    def _claims(self, token: str) -> dict[str, Any] | None:
        """What one of our tokens says, expired or not.

        Good ones are remembered, by a keyed digest: how long a look-up takes tells nothing of them, and
        strangers' tokens take no room.
        """
        digest = hmac.digest(self._key, token.encode(errors="replace"), "sha256")
        if (known := self._known.get(digest)) is not None:
            return known
        try:
            found: dict[str, Any] = jwt.decode(token, self._key, [_ALGORITHM], options=_CHECKED)
        except jwt.InvalidTokenError:
            return None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = found
        return found
