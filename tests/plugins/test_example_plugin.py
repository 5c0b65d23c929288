"""The plugin in `examples/plugin`, installed as a user installs it, does what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from support.service import LocalService

PLUGIN = Path(__file__).parent.parent.parent / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin's distribution; what it is built with is here already."""
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run(
        [*pip, "--no-index", "--no-deps", "--no-build-isolation", f"--target={folder}", str(PLUGIN)],
        check=True,
    )
    return folder


def _run(
    installed: Path, *arguments: str, service: LocalService | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    access: dict[str, Any] = {}
    if service is not None:
        access = {"PROMINENCE_URL": service.endpoint.url, "PROMINENCE_TOKEN": service.endpoint.token}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(installed), **access, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_listed_with_its_distribution_and_hooks(installed: Path) -> None:
    listed = _run(installed, "-m", "prominence", "plugins").stdout

    (line,) = (line for line in listed.splitlines() if line.startswith("cpu-limit"))
    assert "prominence-example-plugin 1.0" in line
    assert "prominence_commands, prominence_executors, prominence_prepare_job" in line


def test_its_verb_works_and_can_be_disabled(installed: Path) -> None:
    used = _run(installed, "-m", "prominence", "cpu-limit", CPU_LIMIT="3")
    disabled = _run(installed, "-m", "prominence", "cpu-limit", PROMINENCE_DISABLE_PLUGINS="cpu-limit")

    assert used.stdout == "3\n", used.stderr
    assert disabled.returncode == 2
    assert "No such command 'cpu-limit'" in disabled.stderr


def test_calls_of_it_are_traced(installed: Path) -> None:
    used = _run(installed, "-m", "prominence", "cpu-limit", PROMINENCE_TRACE_PLUGINS="1")

    (line,) = (line for line in used.stderr.splitlines() if "prominence_commands calls" in line)
    assert line.startswith("prominence: ")
    assert "cpu-limit" in line


def test_its_executor_runs_jobs_and_its_veto_stops_them(installed: Path, service: LocalService) -> None:
    script = (
        "import prominence_executors\n"
        "from prominence import Resources\n"
        "with prominence_executors.create('largest') as executor:\n"
        "    done = executor.submit('true')\n"
        "    print(done.result().job.to_dict()['resources']['cpus'], done.job.labels)\n"
        "    larger = executor.with_options(resources=Resources(cpus=3))\n"
        "    print(larger.submit('true').exception())\n"
    )

    ran = _run(installed, "-c", script, service=service, CPU_LIMIT="2")

    first, second = ran.stdout.splitlines()
    assert first == "2 {'cpulimit': '2'}"
    assert "at most 2 (CPU_LIMIT)" in second
