"""Plugins: found, guarded, and offered to other hosts."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from importlib.metadata import EntryPoint, distributions
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pluggy
import pytest

import prominence_executors
from prominence.plugins import PluginSet, hookimpl, plugins
from prominence.plugins import hookspecs as core_hooks
from prominence_executors import ProminenceExecutor, hookspecs

if TYPE_CHECKING:
    from pathlib import Path

    from prominence import Session


def test_the_executor_is_found_by_its_name(session: Session) -> None:
    with prominence_executors.create("prominence", session=session) as executor:
        assert isinstance(executor, ProminenceExecutor)
        assert executor.submit(sum, [1, 2]).result() == 3


def test_an_unknown_executor_is_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no executor 'dask'; there are prominence"):
        prominence_executors.create("dask")


def _install(folder: Path, name: str, code: str) -> None:
    """A distribution with one plugin module, as pip would leave it."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(f"[prominence]\n{name} = {name}\n")


_GOOD = """
import click
from concurrent.futures import ThreadPoolExecutor
from prominence.plugins import hookimpl

@hookimpl
def prominence_executors():
    return {"threads": ThreadPoolExecutor}

@hookimpl
def prominence_commands():
    @click.command()
    def hello():
        "Say hello."
        click.echo("hello from a plugin")

    return [hello]
"""


def _entry_points(folder: Path) -> list[EntryPoint]:
    return [point for found in distributions(path=[str(folder)]) for point in found.entry_points]


def test_a_broken_plugin_is_reported_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _install(tmp_path, "broken_plugin", "import no_such_module_at_all")
    _install(tmp_path, "good_plugin", _GOOD)
    monkeypatch.syspath_prepend(tmp_path)

    found = PluginSet(sorted(_entry_points(tmp_path)))

    (failure,) = found.failures
    assert (failure.name, failure.distribution) == ("broken_plugin", "broken_plugin 2.5")
    assert "no_such_module_at_all" in failure.cause
    assert "broken_plugin" in caplog.text
    assert found.manager.has_plugin("good_plugin")


def test_plugins_can_add_executors_and_verbs(tmp_path: Path) -> None:
    _install(tmp_path, "good_plugin", _GOOD)
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import prominence_executors\n"
        "print(prominence_executors.create('threads', max_workers=1).submit(sum, [1, 2]).result())\n"
        "from prominence.cli import main; main(['hello'])\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stdout == "3\nhello from a plugin\n", done.stderr


def test_another_host_takes_the_executor_into_its_own_manager(session: Session) -> None:
    manager = pluggy.PluginManager("otherhost")

    prominence_executors.register(manager)
    prominence_executors.register(manager)  # a second time is no error

    (answer,) = manager.hook.prominence_executors()
    with answer["prominence"](session=session) as executor:
        assert isinstance(executor, concurrent.futures.Executor)
        assert executor.submit("echo hosted").result().stdout == "hosted\n"


def test_a_hosts_plugins_can_offer_executors_beside_ours() -> None:
    manager = pluggy.PluginManager("otherhost")
    prominence_executors.register(manager)
    offer = pluggy.HookimplMarker("otherhost")(lambda: {"own": dict})
    manager.register(SimpleNamespace(prominence_executors=offer))

    names = [name for answer in manager.hook.prominence_executors() for name in answer]

    assert sorted(names) == ["own", "prominence"]


@pytest.mark.parametrize(
    "hook",
    [
        value
        for module in (core_hooks, hookspecs)
        for name, value in vars(module).items()
        if name.startswith("prominence_")
    ],
)
def test_every_hook_says_when_it_is_called_and_shows_an_example(hook: object) -> None:
    text = hook.__doc__ or ""

    assert "Called " in text
    assert "@hookimpl" in text


def test_the_markers_are_those_of_the_process_wide_manager() -> None:
    @hookimpl
    def prominence_commands() -> list[object]:
        return []

    manager = plugins().manager
    plugin = SimpleNamespace(prominence_commands=prominence_commands)
    manager.register(plugin)
    try:
        assert [] in manager.hook.prominence_commands()
    finally:
        manager.unregister(plugin)
