"""What a login leaves behind, and how it is kept: the token and the client, in ``~/.prominence``.

::

    ~/.prominence/      0700
        token           0600   JSON with access_token (and refresh_token), or the bare token
        client          0600   JSON with client_id and client_secret, from the provider's registration
        login.lock      held while a token is renewed, so that processes do not do it twice
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from prominence.exceptions import ConfigurationError
from prominence.replacing import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK: Final = "login.lock"
_LATEST: Final = 253_402_300_799  # the end of the year 9999


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as the file has it; ``refresh_token`` where the provider gave one."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class OidcClient:
    """What this program is called at the identity provider, and how it proves that."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The files of one user; they are looked at when they are asked for."""

    directory: Path

    def token(self) -> StoredToken | None:
        """The token of the last login; None where there was none.

        Raises ConfigurationError where the file cannot be read or understood.
        """
        path = self.directory / "token"
        text = _read(path)
        if not text.startswith("{"):
            return StoredToken(checked_token(text)) if text else None
        found = _object(path, text, "access_token")
        if not found["access_token"]:
            return None
        refresh_token = found.get("refresh_token")
        access_token = checked_token(str(found["access_token"]))
        return StoredToken(access_token, str(refresh_token) if refresh_token else None)

    def keep_token(self, token: StoredToken) -> None:
        found = {"access_token": token.access_token}
        self._keep("token", found | ({"refresh_token": token.refresh_token} if token.refresh_token else {}))

    def client(self, provider: str) -> OidcClient | None:
        """The client that was registered with this provider; None where there is none.

        A file that does not say which provider it is for counts for any: other programs write such files.
        """
        path = self.directory / "client"
        text = _read(path)
        if not text:
            return None
        found = _object(path, text, "client_id", "client_secret")
        if found.get("provider", provider) != provider:
            return None
        return OidcClient(str(found["client_id"]), str(found["client_secret"]))

    def keep_client(self, client: OidcClient, provider: str) -> None:
        keys = {"client_id": client.client_id, "client_secret": client.client_secret, "provider": provider}
        self._keep("client", keys)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes of the user from renewing the token; raises ConfigurationError as writing."""
        lock = self._open_lock()
        try:
            if sys.platform != "win32":
                self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have no locks
            raise self._unwritable(_LOCK, error) from error

    def _keep(self, name: str, content: dict[str, str]) -> None:
        try:
            self._make_directory()
            with replacing(self.directory / name, mode=0o600, survive_power_loss=True) as file:
                file.write(json.dumps(content).encode())
        except OSError as error:
            raise self._unwritable(name, error) from error

    def _open_lock(self) -> int:
        try:
            self._make_directory()
            return os.open(self.directory / _LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(_LOCK, error) from error

    def _unwritable(self, name: str, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"{self.directory / name} cannot be written: {error.strerror}")

    def _make_directory(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.directory.stat().st_mode & 0o077:
            self.directory.chmod(0o700)


def checked_token(text: str) -> str:
    """The token without the blanks around it; raises ConfigurationError where it cannot be sent."""
    token = text.strip()
    if not (token.isascii() and token.isprintable()):
        raise ConfigurationError("the token has characters that cannot be sent: copy it again")
    return token


def expiry_of(token: str) -> float | None:
    """When a JSON Web Token says that it expires (Unix epoch); None where it does not say.

    Nothing is verified: that is for the service to do, with its key.
    """
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    expiry = claims.get("exp") if isinstance(claims, dict) else None
    if not isinstance(expiry, int | float) or isinstance(expiry, bool) or not 0 <= expiry <= _LATEST:
        return None
    return float(expiry)


def expired_at(token: str, now: float) -> float | None:
    """When the token's time was over; None where it is not, or the token does not tell."""
    expiry = expiry_of(token)
    return expiry if expiry is not None and expiry <= now else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file {path} cannot be read: {error}") from error


def _object(path: Path, text: str, *names: str) -> dict[str, Any]:
    """The JSON object in a file, which has these members."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not found.keys() >= set(names):
        raise ConfigurationError(f"the file {path} is not JSON with {' and '.join(names)}: log in again")
    return found
