"""How the command starts: only what a verb needs is imported, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService

SCRIPT = """
import json, sys
from prominence.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    print(json.dumps([end.code, sorted(sys.modules)]), file=sys.stderr)
"""


def modules(*arguments: str, **variables: str) -> set[str]:
    """What is imported once the command has ended well."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    code, loaded = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(loaded)


def test_the_version_needs_no_client() -> None:
    loaded = modules("--version")

    assert not {name for name in loaded if name.startswith(("prominence.client", "prominence.description"))}
    assert not {"requests", "pluggy", "rich", "yaml"} & loaded


@pytest.mark.parametrize("verb", ["list", "resources"])
def test_asking_the_service_needs_neither_rules_nor_plugins_nor_its_own_service(
    verb: str, service: LocalService
) -> None:
    loaded = modules(verb, PROMINENCE_URL=service.endpoint.url, PROMINENCE_TOKEN=service.endpoint.token)

    unwanted = ("prominence.description", "prominence.local", "prominence_executors")
    assert not {name for name in loaded if name.startswith(unwanted)}
    assert not {"pluggy", "rich", "yaml", "sqlite3", "asyncio"} & loaded


def test_a_description_in_json_needs_no_yaml(tmp_path: Path) -> None:
    task = {"image": "alpine", "cmd": "true"}
    job = {"resources": {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1}, "tasks": [task]}
    (tmp_path / "job.json").write_text(json.dumps(job))

    assert "yaml" not in modules("validate", str(tmp_path / "job.json"))
