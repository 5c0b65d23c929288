"""All that comes from the environment and from files in the user's home, read in one place.

An argument wins over the environment, the environment over a file.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from prominence.credentials import Credentials, OidcClient, checked_token
from prominence.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL: Final = "local"
_DEFAULT: Final = "default"
RUNTIMES: Final = ("host", "auto", "apptainer", "singularity", "podman", "docker", "udocker")
_NETWORK_FILESYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "ceph", "afs", "fuse.sshfs", "9p"}
)
_FALSE: Final = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """What the embedded service runs commands with.

    ``name`` is one of RUNTIMES (empty: what a running service has, else ``host``); ``options`` come right
    after the container program's name; ``openmpi`` and ``mpich`` are the command lines that start MPI tasks
    without a container (empty: whatever is installed).
    """

    name: str = ""
    options: str = ""
    openmpi: str = ""
    mpich: str = ""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the embedded service keeps what has ended, in days, and how much of it, in 10^9 bytes."""

    days: float | None
    gigabytes: float | None

    def __str__(self) -> str:
        bounds = [(self.days, "d"), (self.gigabytes, "GB")]
        return ",".join(f"{bound:g}{unit}" for bound, unit in bounds if bound is not None) or "forever"

    @classmethod
    def parse(cls, text: str) -> Retention:
        """From ``30d``, ``20GB``, ``30d,20GB`` or ``forever``; else raises ConfigurationError."""
        found: dict[str, float] = {}
        for part in [] if text == "forever" else text.split(","):
            match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(d|GB)\s*", part)
            if match is None or match[2] in found:
                raise ConfigurationError(
                    f"PROMINENCE_LOCAL_RETENTION is {text!r}: it must be like 30d, 20GB, 30d,20GB, or forever"
                )
            found[match[2]] = float(match[1])
        return cls(found.get("d"), found.get("GB"))


DEFAULT_RETENTION: Final = Retention(days=90, gigabytes=50)


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """The embedded service: its state directory; its capacity (None: all that its engine has; memory in
    GB); the interpreter that function calls use there (``PROMINENCE_LOCAL_PYTHON``); the name of the
    engine that runs its jobs (``PROMINENCE_LOCAL_ENGINE``); what that runs commands with; and how long
    the service keeps what has ended (``PROMINENCE_LOCAL_RETENTION``)."""

    directory: Path
    cpus: int | None = None
    memory: float | None = None
    python: str = field(default_factory=lambda: sys.executable)
    engine: str = "machine"
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    retention: Retention = DEFAULT_RETENTION


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """Plugins that are not to be used, by name (``*`` for all), and whether calls of hooks are told."""

    disabled: frozenset[str] = frozenset()
    trace: bool = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> PluginSettings:
        environ = os.environ if environ is None else environ
        names = environ.get("PROMINENCE_DISABLE_PLUGINS", "").split(",")
        trace = environ.get("PROMINENCE_TRACE_PLUGINS", "").lower()
        return cls(
            disabled=frozenset(name.strip() for name in names if name.strip()),
            trace=trace not in _FALSE | {""},
        )


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """Where to log in, as which client, and where what comes of it is kept.

    ``oidc_url`` is the identity provider's address; ``client`` is set where the environment names one, which
    then takes the place of the registered one. ``is_overruled`` tells that the environment has a token, which
    wins over any that is kept.
    """

    credentials: Credentials
    oidc_url: str | None = None
    client: OidcClient | None = None
    ssl_verify: bool | str = True
    is_overruled: bool = False

    @classmethod
    def from_environment(
        cls, *, environ: Mapping[str, str] | None = None, home: Path | None = None
    ) -> LoginSettings:
        """Settings in force; unlike :class:`Settings` they need neither a service nor a token."""
        environ = os.environ if environ is None else environ
        home = _home() if home is None else home
        return cls(
            credentials=Credentials(home / ".prominence"),
            oidc_url=_oidc_url(environ),
            client=_oidc_client(environ),
            ssl_verify=_ssl_verify(environ.get("PROMINENCE_SSL_VERIFY", "")),
            is_overruled=bool(environ.get("PROMINENCE_TOKEN")),
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """Which service is used, and how.

    ``url`` is None for the embedded service; ``announce`` tells whether a line on standard error says so.
    ``token_is_stored`` tells that the token is that of the last login, and may be replaced by a newer one.
    ``settle_window`` (``PROMINENCE_SETTLE_WINDOW``) is how long, in seconds, a submission whose answer was
    lost may take to arrive; None means 120, and 5 for the embedded service.
    """

    url: str | None
    token: str | None = field(repr=False)
    local: LocalSettings
    login: LoginSettings | None = None
    token_is_stored: bool = False
    ssl_verify: bool | str = True
    announce: bool = False
    settle_window: float | None = None

    @classmethod
    def from_environment(
        cls,
        url: str | None = None,
        token: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        home: Path | None = None,
    ) -> Settings:
        """Settings in force; raises ConfigurationError where something is missing or contradicts."""
        environ = os.environ if environ is None else environ
        home = _home() if home is None else home
        url = (url or environ.get("PROMINENCE_URL") or "").rstrip("/") or None
        found = checked_token(token or environ.get("PROMINENCE_TOKEN") or "") or None
        login = LoginSettings.from_environment(environ=environ, home=home)
        by_name, is_stored = url == LOCAL, False
        if by_name:
            url = None
        elif url is not None and found is None:
            stored = login.credentials.token()
            found, is_stored = (stored.access_token, True) if stored else (None, False)
        _check_pair(url, found, by_name=by_name, environ=environ)
        return cls(
            url=url,
            token=None if url is None else found,
            local=_local(environ, home),
            login=login,
            token_is_stored=is_stored,
            ssl_verify=login.ssl_verify,
            announce=url is None and not by_name,
            settle_window=_positive("PROMINENCE_SETTLE_WINDOW", environ),
        )


_DEFAULTS: Final = {
    "PROMINENCE_URL": "the service on this machine",
    "PROMINENCE_TOKEN": "none",
    "PROMINENCE_SSL_VERIFY": "True",
    "PROMINENCE_SETTLE_WINDOW": "120 s, or 5 s on this machine",
    "PROMINENCE_OIDC_URL": "none",
    "PROMINENCE_OIDC_CLIENT_ID": "that of the registration",
    "PROMINENCE_OIDC_CLIENT_SECRET": "that of the registration",
    "PROMINENCE_DISABLE_PLUGINS": "none",
    "PROMINENCE_TRACE_PLUGINS": "False",
    "PROMINENCE_LOCAL_DIR": "",
    "PROMINENCE_LOCAL_CPUS": "all of this machine",
    "PROMINENCE_LOCAL_MEMORY": "all of this machine",
    "PROMINENCE_LOCAL_PYTHON": "",
    "PROMINENCE_LOCAL_ENGINE": "machine",
    "PROMINENCE_LOCAL_RUNTIME": "host",
    "PROMINENCE_LOCAL_RUNTIME_OPTIONS": "none",
    "PROMINENCE_LOCAL_OPENMPI": "what is installed",
    "PROMINENCE_LOCAL_MPICH": "what is installed",
    "PROMINENCE_LOCAL_RETENTION": str(DEFAULT_RETENTION),
}
_SECRETS: Final = frozenset({"PROMINENCE_TOKEN", "PROMINENCE_OIDC_CLIENT_SECRET"})
_USER_IN_URL: Final = re.compile(r"(?<=://)[^/@]*@")


class Origin(NamedTuple):
    """A setting by its variable's name, its value in words (``set`` for a secret), and where that is from."""

    name: str
    value: str
    origin: str


def origins(*, environ: Mapping[str, str] | None = None, home: Path | None = None) -> list[Origin]:
    """All settings and where each comes from: the environment, a file, or a default.

    Nothing is checked, so that it can be told of settings that contradict each other.
    """
    environ = os.environ if environ is None else environ
    home = _home() if home is None else home
    found = [_origin(name, environ, default) for name, default in _DEFAULTS.items()]
    places = {
        "PROMINENCE_LOCAL_DIR": str(_default_directory(home)),
        "PROMINENCE_LOCAL_PYTHON": sys.executable,
    }
    tokens = home / ".prominence" / "token"
    return [
        each._replace(value="set", origin=str(tokens))
        if each.name == "PROMINENCE_TOKEN" and each.origin == _DEFAULT and tokens.exists()
        else each._replace(value=each.value or places[each.name])
        for each in found
    ]


def _origin(name: str, environ: Mapping[str, str], default: str) -> Origin:
    given = environ.get(name)
    if not given:
        return Origin(name, default, _DEFAULT)
    return Origin(name, "set" if name in _SECRETS else _USER_IN_URL.sub("", given), "environment")


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigurationError("there is no home directory: set HOME") from error


def _check_pair(url: str | None, token: str | None, *, by_name: bool, environ: Mapping[str, str]) -> None:
    if url is not None and _USER_IN_URL.search(url):
        raise ConfigurationError(
            "PROMINENCE_URL has a user name or password in it: leave it out, and set PROMINENCE_TOKEN"
        )
    if url is not None and not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"PROMINENCE_URL is {url!r}: it must be `local`, or begin with http:// or https:// "
            "(such as https://host.example/prominence/v1)"
        )
    if url is not None and token is None:
        raise ConfigurationError(
            f"PROMINENCE_URL is {url}, but there is no token: set PROMINENCE_TOKEN or log in "
            "(prominence.login()), or unset PROMINENCE_URL to use the service on this machine"
        )
    if url is None and token is not None and not by_name:
        raise ConfigurationError(
            "PROMINENCE_TOKEN is set, but PROMINENCE_URL is not: set it to the service's address, "
            "or unset PROMINENCE_TOKEN to use the service on this machine"
        )
    if url is None and "PROMINENCE_JOB_ID" in environ:
        raise ConfigurationError(
            "this is a PROMINENCE job without PROMINENCE_URL: no service is started inside of jobs"
        )


def _oidc_url(environ: Mapping[str, str]) -> str | None:
    given = environ.get("PROMINENCE_OIDC_URL", "").rstrip("/")
    if given and not given.startswith(("http://", "https://")):
        raise ConfigurationError(f"PROMINENCE_OIDC_URL is {given!r}: it must begin with http:// or https://")
    return given or None


def _oidc_client(environ: Mapping[str, str]) -> OidcClient | None:
    names = ("PROMINENCE_OIDC_CLIENT_ID", "PROMINENCE_OIDC_CLIENT_SECRET")
    client_id, secret = (environ.get(name, "") for name in names)
    if bool(client_id) != bool(secret):
        has, lacks = names if client_id else names[::-1]
        raise ConfigurationError(f"{has} is set, but {lacks} is not: set both, or none")
    return OidcClient(client_id, secret) if client_id else None


def _local(environ: Mapping[str, str], home: Path) -> LocalSettings:
    return LocalSettings(
        directory=_directory(environ, home),
        cpus=_whole("PROMINENCE_LOCAL_CPUS", environ),
        memory=_positive("PROMINENCE_LOCAL_MEMORY", environ),
        python=_python(environ),
        engine=environ.get("PROMINENCE_LOCAL_ENGINE") or "machine",
        runtime=_runtime(environ),
        retention=_retention(environ),
    )


def _runtime(environ: Mapping[str, str]) -> RuntimeSettings:
    name = environ.get("PROMINENCE_LOCAL_RUNTIME", "")
    if name and name not in RUNTIMES:
        raise ConfigurationError(
            f"PROMINENCE_LOCAL_RUNTIME is {name!r}: it must be one of {', '.join(RUNTIMES)}"
        )
    return RuntimeSettings(
        name,
        options=_command_line("PROMINENCE_LOCAL_RUNTIME_OPTIONS", environ),
        openmpi=_command_line("PROMINENCE_LOCAL_OPENMPI", environ),
        mpich=_command_line("PROMINENCE_LOCAL_MPICH", environ),
    )


def _command_line(name: str, environ: Mapping[str, str]) -> str:
    text = environ.get(name, "")
    try:
        shlex.split(text)
    except ValueError as error:
        raise ConfigurationError(f"{name} cannot be split into words: {error}") from error
    return text


def _directory(environ: Mapping[str, str], home: Path) -> Path:
    given = environ.get("PROMINENCE_LOCAL_DIR")
    if not given:
        return _default_directory(home)
    if Path(given).exists() and not Path(given).is_dir():
        raise ConfigurationError(f"PROMINENCE_LOCAL_DIR is {given!r}: it must be a directory")
    return Path(given).absolute()


def _retention(environ: Mapping[str, str]) -> Retention:
    given = environ.get("PROMINENCE_LOCAL_RETENTION")
    return Retention.parse(given) if given else DEFAULT_RETENTION


def _python(environ: Mapping[str, str]) -> str:
    given = environ.get("PROMINENCE_LOCAL_PYTHON")
    if given and shutil.which(given) is None:
        raise ConfigurationError(f"PROMINENCE_LOCAL_PYTHON is {given!r}: it must be a program")
    return given or sys.executable


def _default_directory(home: Path) -> Path:
    """One directory per host: below the home directory, unless that is on a network file system."""
    host = socket.gethostname().split(".")[0] or "localhost"
    if _filesystem_of(home) in _NETWORK_FILESYSTEMS:
        return Path(f"/var/tmp/prominence-{os.getuid()}-{host}")  # noqa: S108 - its owner is checked
    return home / ".prominence" / "local" / host


def _filesystem_of(path: Path) -> str:
    """The type of the file system that holds a path; empty where the system does not tell."""
    best, kind = "", ""
    path = path.resolve()
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, mount_point, this_kind, *_ = line.split(" ")
        mount_point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount_point)
        if path.is_relative_to(mount_point) and len(mount_point) >= len(best):
            best, kind = mount_point, this_kind
    return kind


def _whole(name: str, environ: Mapping[str, str]) -> int | None:
    number = _positive(name, environ)
    if number is not None and not number.is_integer():
        raise ConfigurationError(f"{name} is {environ[name]!r}: it must be a whole number of at least 1")
    return None if number is None else int(number)


def _positive(name: str, environ: Mapping[str, str]) -> float | None:
    text = environ.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"{name} is {text!r}: it must be a number above 0")
    return number


def _ssl_verify(text: str) -> bool | str:
    """True, False (``PROMINENCE_SSL_VERIFY=False``), or the path of a file of CA certificates."""
    if not text or text.lower() == "true":
        return True
    if text.lower() in _FALSE:
        return False
    if not Path(text).exists():
        raise ConfigurationError(f"PROMINENCE_SSL_VERIFY is {text!r}: neither False nor an existing file")
    return text
