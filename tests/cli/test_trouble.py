"""Errors as exit codes and messages, and verbs of plugins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import click
import pytest
from support.service import LocalService

from prominence.cli import main
from prominence.exceptions import (
    ConfigurationError,
    InvalidDescription,
    NotFound,
    ServiceUnavailable,
    SubmissionUncertain,
    TaskExitError,
    WaitTimeout,
)
from prominence.plugins import hookimpl, plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.command import Command


@pytest.fixture
def add_verb() -> Iterator[Callable[[click.Command], None]]:
    """Adds a verb as plugins do."""
    added = []

    def add(verb: click.Command) -> None:
        plugin = SimpleNamespace(prominence_commands=hookimpl(lambda: [verb]))
        plugin.prominence_commands.__name__ = "prominence_commands"
        plugins().manager.register(plugin)
        added.append(plugin)

    yield add
    for plugin in added:
        plugins().manager.unregister(plugin)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TaskExitError("job 1 ended with exit code 3"), 1),
        (InvalidDescription("cpus", 0, "at least 1"), 2),
        (FileNotFoundError(2, "No such file or directory", "job.yaml"), 2),
        (ConfigurationError("PROMINENCE_TOKEN is missing"), 3),
        (ServiceUnavailable("no usable answer"), 3),
        (NotFound("no such job"), 3),
        (WaitTimeout("job 1 has not ended"), 3),
        (SubmissionUncertain("it is not known", "feed"), 3),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_become_exit_codes_and_one_message(
    command: Command, add_verb: Callable[[click.Command], None], error: BaseException, code: int
) -> None:
    @click.command("fail-so")
    def fail() -> None:
        raise error

    add_verb(fail)

    done = command("fail-so", code=code)

    assert done.stderr.startswith("prominence: ")
    assert (str(error) or "interrupted") in done.stderr
    assert done.stdout == ""
    assert ("--constraint prominencesubmission=feed" in done.stderr) == isinstance(error, SubmissionUncertain)


def test_a_plugins_verb_takes_no_verb_of_ours_away(
    command: Command, add_verb: Callable[[click.Command], None]
) -> None:
    @click.command("completion")
    def other() -> None:
        click.echo("not ours")

    add_verb(other)

    assert "not ours" not in command("completion", "bash").stdout


@pytest.mark.parametrize("verb", [("create", "alpine"), ("submit", "true")])
def test_ctrl_c_while_a_job_is_submitted_says_that_it_may_have_arrived(
    served: Command, verb: tuple[str, ...]
) -> None:
    def interrupt(job: object) -> None:
        raise KeyboardInterrupt(job)

    interrupt.__name__ = "prominence_prepare_job"
    plugin = SimpleNamespace(prominence_prepare_job=hookimpl(interrupt))
    plugins().manager.register(plugin)
    try:
        done = served(*verb, code=130)
    finally:
        plugins().manager.unregister(plugin)

    assert "prominence list -a" in done.stderr
    assert done.stdout == ""


def test_an_unknown_verb_is_wrong_use(command: Command) -> None:
    assert "no-such-verb" in command("no-such-verb", code=2).stderr


def test_a_refused_token_is_trouble_with_the_service(
    served: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMINENCE_TOKEN", "canary")

    done = served("list", code=3)

    assert "Authentication failure" in done.stderr
    assert "canary" not in done.output


def test_half_a_configuration_is_told(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMINENCE_URL", "https://host.example/prominence/v1")

    assert "there is no token" in command("list", code=3).stderr


def test_what_some_servers_choke_on_is_a_warning_in_one_line(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.directory.exists()
    with LocalService(tmp_path / "rough", cpus=2, memory=4, rough=True) as plain:
        monkeypatch.setenv("PROMINENCE_URL", plain.endpoint.url)
        monkeypatch.setenv("PROMINENCE_TOKEN", plain.endpoint.token)

        with pytest.raises(SystemExit) as ended:
            main(["create", "--memory", "1.5", "alpine", "true"])

    assert ended.value.code == 0
    (warning, *_) = capsys.readouterr().err.splitlines()
    assert warning.startswith("prominence: warning: resources.memory")
