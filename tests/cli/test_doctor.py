"""``prominence doctor``: where settings come from and what works, without a secret."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from prominence.settings import local as local_settings
from prominence.settings import service as service_settings

if TYPE_CHECKING:
    from support.command import Command
    from support.service import LocalService

SECRET = "canary-3f1c"


def settings(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["name"]: (each["value"], each["origin"]) for each in found["settings"]}


def checks(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["check"]: (each["result"], each["detail"]) for each in found["checks"]}


def token(expiry: float) -> str:
    return jwt.encode({"exp": int(expiry)}, key=SECRET * 3, algorithm="HS256")


def test_without_settings_the_local_service_is_meant_and_not_started(command: Command) -> None:
    found = command.json("doctor", "--json")

    assert settings(found)["PROMINENCE_URL"] == ("the service on this machine", "default")
    assert settings(found)["PROMINENCE_LOCAL_DIR"][1] == "environment"
    assert checks(found)["local service"][0] == "not running"
    assert not (command.directory.parent / "state").exists()


def test_settings_of_the_environment_are_told_as_such(served: Command, service: LocalService) -> None:
    found = served.json("doctor", "--json")

    assert settings(found)["PROMINENCE_URL"] == (service.endpoint.url, "environment")
    assert settings(found)["PROMINENCE_TOKEN"] == ("set", "environment")
    assert checks(found)["service"][0] == "ok"
    assert checks(found)["access"] == ("ok", "the token is accepted")
    assert checks(found)["token"][1].startswith("expires on 20")
    assert service.endpoint.token not in served("doctor").stdout


def test_every_setting_that_is_read_is_told(command: Command) -> None:
    sources = [Path(each.__file__).read_text() for each in (service_settings, local_settings)]
    read = set(re.findall(r"PROMINENCE_[A-Z_]+", "".join(sources)))

    assert set(settings(command.json("doctor", "--json"))) == read - {"PROMINENCE_JOB_ID"}


def test_a_token_of_a_login_is_told_by_its_file(
    command: Command, service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path.home() / ".prominence" / "token"
    file.parent.mkdir(mode=0o700)
    file.write_text(service.endpoint.token)
    monkeypatch.setenv("PROMINENCE_URL", service.endpoint.url)

    assert settings(command.json("doctor", "--json"))["PROMINENCE_TOKEN"] == ("set", str(file))


def test_a_refused_token_and_its_expiry_are_told(
    command: Command, service: LocalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMINENCE_URL", service.endpoint.url)
    monkeypatch.setenv("PROMINENCE_TOKEN", token(time.time() - 3600))

    found = checks(command.json("doctor", "--json", code=3))

    assert found["service"][0] == "ok"
    assert found["token"][0] == "expired"
    assert found["access"][0] == "failed"


@pytest.mark.parametrize(
    "variables",
    [
        {"PROMINENCE_URL": "https://host.example/prominence/v1"},
        {"PROMINENCE_TOKEN": SECRET},
        {"PROMINENCE_URL": f"ftp://me:{SECRET}@host.example", "PROMINENCE_TOKEN": SECRET},
        {"PROMINENCE_OIDC_CLIENT_SECRET": SECRET},
        {"PROMINENCE_LOCAL_CPUS": "many"},
    ],
)
def test_settings_that_contradict_are_told_and_no_secret_is(
    command: Command, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    done = command("doctor", code=3)

    assert "failed" in done.stdout
    assert SECRET not in done.output
    assert all(name in done.stdout for name in variables)
