"""Where settings come from, which one wins, and what wrong ones are told."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from prominence import Settings
from prominence.credentials import OidcClient
from prominence.exceptions import ConfigurationError
from prominence.settings import LoginSettings, RuntimeSettings

URL = "https://host.example/prominence/v1"
OTHER = "https://other.example/prominence/v1"
VAR_TMP = Path("/var/tmp")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "somebody"
    (home / ".prominence").mkdir(parents=True)
    return home


def write_token(home: Path, text: str) -> None:
    (home / ".prominence" / "token").write_text(text, encoding="utf-8")


def read(home: Path, *, url: str | None = None, token: str | None = None, **variables: str) -> Settings:
    environ = {f"PROMINENCE_{name}": value for name, value in variables.items()}
    return Settings.from_environment(url, token, environ=environ, home=home)


def login_settings(home: Path, **variables: str) -> LoginSettings:
    environ = {f"PROMINENCE_{name}": value for name, value in variables.items()}
    return LoginSettings.from_environment(environ=environ, home=home)


# ---- which service


def test_nothing_set_means_the_service_on_this_machine_which_says_so(home: Path) -> None:
    settings = read(home)
    assert (settings.url, settings.token, settings.announce) == (None, None, True)


def test_a_url_with_a_password_is_refused_without_showing_it(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="password") as caught:
        read(home, URL="https://me:canary@host.example/prominence/v1", TOKEN="t")

    assert "canary" not in str(caught.value)


def test_the_service_on_this_machine_by_name_says_nothing(home: Path) -> None:
    settings = read(home, URL="local")
    assert (settings.url, settings.token, settings.announce) == (None, None, False)


def test_the_service_on_this_machine_by_name_needs_no_token_and_takes_none(home: Path) -> None:
    write_token(home, "from-file")
    assert read(home, URL="local", TOKEN="from-environment").token is None


def test_an_argument_may_name_the_service_on_this_machine(home: Path) -> None:
    assert read(home, url="local", URL=URL, TOKEN="t").url is None


def test_a_token_file_alone_does_not_choose_a_service(home: Path) -> None:
    write_token(home, "from-file")
    assert read(home).url is None


@pytest.mark.parametrize(
    ("argument", "variable", "file", "expected"),
    [
        ("argument", "environment", "file", "argument"),
        ("argument", None, None, "argument"),
        (None, "environment", "file", "environment"),
        ("", "environment", "file", "environment"),
        (None, "", "file", "file"),
        (None, None, "file", "file"),
    ],
)
def test_the_nearest_token_wins(
    argument: str | None, variable: str | None, file: str | None, expected: str, home: Path
) -> None:
    if file is not None:
        write_token(home, file)
    variables = {} if variable is None else {"TOKEN": variable}
    settings = read(home, token=argument, URL=URL, **variables)
    assert settings.token == expected
    assert settings.token_is_stored is (expected == "file")


def test_the_argument_for_the_url_wins(home: Path) -> None:
    assert read(home, url=OTHER, URL=URL, TOKEN="t").url == OTHER
    assert read(home, URL=URL, TOKEN="t").url == URL


def test_the_slash_at_the_end_of_the_url_is_dropped(home: Path) -> None:
    assert read(home, URL=f"{URL}/", TOKEN="t").url == URL


def test_the_environment_and_home_of_the_process_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    (Path.home() / ".prominence").mkdir()
    write_token(Path.home(), "from-file")
    monkeypatch.setenv("PROMINENCE_URL", URL)
    settings = Settings.from_environment()
    assert (settings.url, settings.token) == (URL, "from-file")


def test_a_url_without_a_token_is_an_error_that_names_what_is_missing(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_TOKEN") as caught:
        read(home, URL=URL)
    assert URL in str(caught.value)


def test_a_token_without_a_url_is_an_error_that_names_what_is_missing(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_URL is not") as caught:
        read(home, TOKEN="tell-nobody")
    assert "tell-nobody" not in str(caught.value)


@pytest.mark.parametrize("url", ["host.example", "ftp://host.example", "Local!", "file:///x"])
def test_an_address_that_is_none_is_an_error(url: str, home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_URL") as caught:
        read(home, URL=url, TOKEN="t")
    assert url in str(caught.value)
    assert "https://" in str(caught.value)


@pytest.mark.parametrize("variables", [{}, {"URL": "local"}, {"URL": ""}])
def test_no_service_is_started_inside_of_a_job(variables: dict[str, str], home: Path) -> None:
    with pytest.raises(ConfigurationError, match="job"):
        read(home, JOB_ID="17", **variables)


def test_inside_of_a_job_its_own_service_is_used(home: Path) -> None:
    assert read(home, JOB_ID="17", URL=URL, TOKEN="t").url == URL


def test_the_address_of_the_identity_provider(home: Path) -> None:
    assert login_settings(home).oidc_url is None
    assert login_settings(home, OIDC_URL="https://login.example/").oidc_url == "https://login.example"
    with pytest.raises(ConfigurationError, match="PROMINENCE_OIDC_URL is 'login"):
        login_settings(home, OIDC_URL="login.example")


def test_the_client_at_the_identity_provider_may_be_named(home: Path) -> None:
    assert login_settings(home).client is None
    named = login_settings(home, OIDC_CLIENT_ID="me", OIDC_CLIENT_SECRET="tell-nobody")
    assert named.client == OidcClient("me", "tell-nobody")
    assert "tell-nobody" not in repr(named)


@pytest.mark.parametrize(("given", "missing"), [("ID", "SECRET"), ("SECRET", "ID")])
def test_half_a_client_is_an_error_that_names_what_is_missing(given: str, missing: str, home: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"PROMINENCE_OIDC_CLIENT_{missing} is not"):
        login_settings(home, **{f"OIDC_CLIENT_{given}": "x"})


def test_to_log_in_needs_neither_a_service_nor_a_token(home: Path) -> None:
    assert login_settings(home, URL=URL).credentials.token() is None


# ---- the token


@pytest.mark.parametrize(
    "text",
    [
        "bare-token",
        "bare-token\n",
        "  bare-token \n\n",
        json.dumps({"access_token": "bare-token", "expires_in": 3600}),
        json.dumps({"access_token": "bare-token"}, indent=2) + "\n",
    ],
)
def test_a_token_file_holds_json_or_the_bare_token(text: str, home: Path) -> None:
    write_token(home, text)
    assert read(home, URL=URL).token == "bare-token"


@pytest.mark.parametrize("text", ["", "\n", '{"access_token": ""}', '{"access_token": null}'])
def test_a_token_file_without_a_token_is_a_missing_token(text: str, home: Path) -> None:
    write_token(home, text)
    with pytest.raises(ConfigurationError, match="token"):
        read(home, URL=URL)


@pytest.mark.parametrize("text", ["{", "{}", '{"refresh_token": "secret-part"}'])
def test_a_token_file_that_is_not_understood_is_named(text: str, home: Path) -> None:
    write_token(home, text)
    with pytest.raises(ConfigurationError, match="access_token") as caught:
        read(home, URL=URL)
    assert str(home / ".prominence" / "token") in str(caught.value)
    assert "secret-part" not in str(caught.value)


def test_a_token_file_that_cannot_be_read_is_named(home: Path) -> None:
    (home / ".prominence" / "token").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(home, URL=URL)


def test_a_token_file_of_bytes_is_named(home: Path) -> None:
    (home / ".prominence" / "token").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read(home, URL=URL)


def test_the_end_of_a_line_after_a_token_is_no_part_of_it(home: Path) -> None:
    assert read(home, URL=URL, TOKEN="bare-token\n").token == "bare-token"


def test_settings_do_not_show_the_token(home: Path) -> None:
    settings = read(home, URL=URL, TOKEN="tell-nobody")
    assert "tell-nobody" not in f"{settings!r} {settings}"
    assert URL in repr(settings)


# ---- certificates


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, True),
        ("", True),
        ("True", True),
        ("true", True),
        ("False", False),
        ("false", False),
        ("0", False),
    ],
)
def test_certificates_are_checked_unless_told_otherwise(text: str | None, expected: bool, home: Path) -> None:
    variables = {} if text is None else {"SSL_VERIFY": text}
    assert read(home, **variables).ssl_verify is expected


def test_certificates_may_be_checked_by_a_bundle(home: Path) -> None:
    bundle = home / "ca.pem"
    bundle.touch()
    assert read(home, SSL_VERIFY=str(bundle)).ssl_verify == str(bundle)


def test_a_bundle_that_does_not_exist_is_an_error(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_SSL_VERIFY") as caught:
        read(home, SSL_VERIFY="/no/such.pem")
    assert "/no/such.pem" in str(caught.value)
    assert "existing file" in str(caught.value)


# ---- the service on this machine


def test_the_capacity_is_the_machines_unless_set(home: Path) -> None:
    local = read(home).local
    assert (local.cpus, local.memory, local.python) == (None, None, sys.executable)


@pytest.mark.parametrize("text", ["", None])
def test_an_empty_variable_is_like_none(text: str | None, home: Path) -> None:
    names = ("LOCAL_CPUS", "LOCAL_MEMORY", "LOCAL_DIR", "LOCAL_PYTHON")
    variables = {} if text is None else dict.fromkeys(names, text)
    assert read(home, **variables).local == read(home).local


def test_the_capacity_may_be_more_than_the_machine_has(home: Path) -> None:
    local = read(home, LOCAL_CPUS="4096", LOCAL_MEMORY="0.5").local
    assert (local.cpus, local.memory) == (4096, 0.5)
    assert isinstance(local.cpus, int)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "nan", "inf", "0.5", " "])
def test_wrong_cpus_are_an_error_with_name_value_and_rule(value: str, home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_LOCAL_CPUS") as caught:
        read(home, LOCAL_CPUS=value)
    assert repr(value) in str(caught.value)
    assert "must be" in str(caught.value)


@pytest.mark.parametrize("value", ["0", "-1", "two", "nan", "inf", "4GB", " "])
def test_wrong_memory_is_an_error_with_name_value_and_rule(value: str, home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_LOCAL_MEMORY") as caught:
        read(home, LOCAL_MEMORY=value)
    assert repr(value) in str(caught.value)
    assert "above 0" in str(caught.value)


def test_the_settle_window_may_be_set(home: Path) -> None:
    assert read(home).settle_window is None
    assert read(home, SETTLE_WINDOW="7.5").settle_window == 7.5


@pytest.mark.parametrize("value", ["0", "-1", "long", "inf"])
def test_a_wrong_settle_window_is_an_error_with_name_value_and_rule(value: str, home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_SETTLE_WINDOW") as caught:
        read(home, SETTLE_WINDOW=value)
    assert repr(value) in str(caught.value)
    assert "above 0" in str(caught.value)


def test_wrong_capacity_is_an_error_for_a_remote_service_too(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_LOCAL_CPUS"):
        read(home, URL=URL, TOKEN="t", LOCAL_CPUS="many")


def test_the_interpreter_for_calls_may_be_named(home: Path) -> None:
    assert read(home, LOCAL_PYTHON=sys.executable).local.python == sys.executable


def test_an_interpreter_that_does_not_exist_is_an_error_with_name_value_and_rule(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="PROMINENCE_LOCAL_PYTHON") as caught:
        read(home, LOCAL_PYTHON="/no/such/python")
    assert "/no/such/python" in str(caught.value)


def test_the_state_directory_may_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert read(home, LOCAL_DIR="state").local.directory == home / "state"
    assert read(home, LOCAL_DIR="/elsewhere/x").local.directory == Path("/elsewhere/x")


def test_a_state_directory_that_is_a_file_is_an_error_with_name_value_and_rule(home: Path) -> None:
    (home / "state").touch()
    with pytest.raises(ConfigurationError, match="PROMINENCE_LOCAL_DIR") as caught:
        read(home, LOCAL_DIR=str(home / "state"))
    assert str(home / "state") in str(caught.value)


def mount(monkeypatch: pytest.MonkeyPatch, *mounts: str) -> None:
    """Have the system tell of these mounts: mount point and type each."""
    table = "".join(f"device {each} rw 0 0\n" for each in mounts)
    read_text = Path.read_text

    def read_mounts(path: Path, encoding: str | None = None) -> str:
        return table if str(path) == "/proc/self/mounts" else read_text(path, encoding)

    monkeypatch.setattr(Path, "read_text", read_mounts)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(socket, "gethostname", lambda: "node7.cluster.example")
    return "node7"


def test_the_state_is_kept_below_home_by_host(home: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mount(monkeypatch, "/ ext4")
    assert read(home).local.directory == home / ".prominence" / "local" / host


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "lustre", "gpfs", "cifs", "beegfs", "ceph", "fuse.sshfs"])
def test_the_state_is_not_kept_on_a_network_file_system(
    kind: str, home: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(monkeypatch, "/ ext4", f"{home.parent} {kind}")
    directory = read(home).local.directory
    assert directory.parent == VAR_TMP
    assert directory.name == f"prominence-{os.getuid()}-{host}"


@pytest.mark.parametrize(("outer", "inner"), [("nfs", "ext4"), ("ext4", "nfs")])
def test_the_innermost_mount_counts(
    outer: str, inner: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount(monkeypatch, f"{home} {inner}", "/ ext4", f"{home.parent} {outer}", f"{home}-not nfs")
    is_local = inner == "ext4"
    assert read(home).local.directory.is_relative_to(home) is is_local


def test_the_last_mount_at_a_place_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount(monkeypatch, "/ ext4", f"{home} ext4", f"{home} nfs4")
    assert not read(home).local.directory.is_relative_to(home)


def test_a_home_behind_a_symbolic_link_is_where_it_leads(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(home)
    mount(monkeypatch, "/ ext4", f"{home} nfs4")
    directory = read(tmp_path / "link").local.directory
    assert directory.is_relative_to(VAR_TMP)


def test_a_mount_point_with_a_blank_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "my home"
    home.mkdir()
    mount(monkeypatch, "/ ext4", f"{tmp_path}/my\\040home nfs4")
    assert not read(home).local.directory.is_relative_to(home)


def test_a_system_that_does_not_tell_its_mounts_counts_as_local(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(path: Path, **_: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", read_nothing)
    assert read(home).local.directory.is_relative_to(home)


def test_what_commands_run_with_comes_from_the_environment(tmp_path: Path) -> None:
    environ = {
        "PROMINENCE_LOCAL_RUNTIME": "podman",
        "PROMINENCE_LOCAL_RUNTIME_OPTIONS": "--log-level error",
        "PROMINENCE_LOCAL_OPENMPI": "mpirun.openmpi --bind-to none",
        "PROMINENCE_LOCAL_MPICH": "mpirun.mpich",
    }

    runtime = Settings.from_environment(environ=environ, home=tmp_path).local.runtime

    assert runtime == RuntimeSettings(
        "podman", "--log-level error", "mpirun.openmpi --bind-to none", "mpirun.mpich"
    )


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PROMINENCE_LOCAL_RUNTIME", "crun", "it must be one of host, auto, apptainer, "),
        ("PROMINENCE_LOCAL_RUNTIME_OPTIONS", "'--x", "cannot be split into words"),
        ("PROMINENCE_LOCAL_OPENMPI", '"mpirun', "cannot be split into words"),
    ],
)
def test_a_bad_runtime_is_refused(tmp_path: Path, name: str, value: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} .*{complaint}"):
        Settings.from_environment(environ={name: value}, home=tmp_path)
