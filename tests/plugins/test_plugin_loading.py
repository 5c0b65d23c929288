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
from prominence.settings import PluginSettings
from prominence_executors import ProminenceExecutor

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


def test_several_hosts_at_once_keep_their_own_plugins() -> None:
    hosts = [pluggy.PluginManager(project) for project in ("one", "other", "one")]
    for number, host in enumerate(hosts):
        offer = pluggy.HookimplMarker(host.project_name)(lambda number=number: {"own": f"module:{number}"})
        host.register(SimpleNamespace(prominence_host_adapters=offer))  # before its hook is known, too
        prominence_executors.register(host)
        host.check_pending()

    assert [host.hook.prominence_host_adapters() for host in hosts] == [
        [{"own": "module:0"}],
        [{"own": "module:1"}],
        [{"own": "module:2"}],
    ]
    assert [list(answer) for host in hosts for answer in host.hook.prominence_executors()] == [
        ["prominence"]
    ] * 3


def test_a_host_can_take_the_executor_out_and_in_again() -> None:
    manager = pluggy.PluginManager("otherhost")
    prominence_executors.register(manager)

    manager.unregister(name="prominence-executors")
    assert manager.hook.prominence_executors() == []

    prominence_executors.register(manager)
    assert [list(answer) for answer in manager.hook.prominence_executors()] == [["prominence"]]


def test_a_plugin_with_a_wrong_hook_is_not_used_by_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "half_plugin", _GOOD + "\n@hookimpl\ndef prominence_prepare_job(cpus): pass\n")
    monkeypatch.syspath_prepend(tmp_path)

    found = PluginSet(_entry_points(tmp_path))

    (failure,) = found.failures
    assert "cpus" in failure.cause
    assert found.hook.prominence_commands() == []
    assert not found.loaded


def test_plugins_are_left_out_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "broken_plugin", "import no_such_module_at_all")
    _install(tmp_path, "good_plugin", _GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    found = sorted(_entry_points(tmp_path))

    without_broken = PluginSet(found, _settings("broken_plugin, other"))
    without_any = PluginSet(found, _settings("*"))

    assert without_broken.disabled == ["broken_plugin"]
    assert [each.name for each in without_broken.loaded] == ["good_plugin"]
    assert not without_broken.failures
    assert without_any.disabled == ["broken_plugin", "good_plugin"]
    assert not without_any.loaded


def test_calls_of_hooks_are_traced_without_their_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _install(tmp_path, "good_plugin", _GOOD)
    monkeypatch.syspath_prepend(tmp_path)
    found = PluginSet(
        _entry_points(tmp_path), PluginSettings.from_environment({"PROMINENCE_TRACE_PLUGINS": "1"})
    )

    found.hook.prominence_commands()
    found.hook.prominence_prepare_job(job="a secret")
    found.manager.register(SimpleNamespace(prominence_prepare_job=_failing), "failing")
    with pytest.raises(KeyError):
        found.hook.prominence_prepare_job(job="a secret")

    assert capsys.readouterr().err.splitlines() == [
        "prominence: prominence_commands calls good_plugin",
        "prominence: prominence_prepare_job calls no plugin",
        "prominence: prominence_prepare_job calls failing",
        "prominence: prominence_prepare_job raised KeyError",
    ]


@hookimpl
def _failing(job: str) -> None:
    raise KeyError(job)


def _settings(disabled: str) -> PluginSettings:
    return PluginSettings.from_environment({"PROMINENCE_DISABLE_PLUGINS": disabled})


def test_threads_that_are_first_together_load_plugins_once(tmp_path: Path) -> None:
    _install(tmp_path, "slow_plugin", "import time; time.sleep(0.05); print('loaded')")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from prominence.plugins import plugins\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len(set(pool.map(lambda _: id(plugins()), range(8)))))\n"
    )

    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "loaded\n1\n"


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
