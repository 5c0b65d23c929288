"""The distribution as a whole: what it exports, imports, depends on and ships."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import prominence
import prominence_executors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", [prominence, prominence_executors])
def test_every_exported_name_is_there(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]

    assert list(names) == sorted(names, key=lambda name: (not name[0].isupper(), name))
    assert all(hasattr(package, name) for name in names)


def test_the_version_is_that_of_the_distribution() -> None:
    assert prominence.__version__ == version("prominence") == "1.0.0.dev0"


def test_the_arrows_between_modules_point_down() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stdout


def test_importing_the_library_imports_nothing_heavy() -> None:
    script = "import sys, json; from prominence import Job, Workflow; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script]))

    heavy = {"requests", "urllib3", "tenacity", "asyncio", "uvicorn", "starlette", "sqlite3", "jwt", "psutil"}
    assert not heavy & set(loaded)


def test_listing_executors_imports_no_host() -> None:
    script = (
        "import sys, json, prominence_executors as p; p.available(); print(json.dumps(sorted(sys.modules)))"
    )
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", script]))

    assert not [name for name in loaded if name.startswith("prominence_executors.hosts.")]


def test_the_runner_needs_the_standard_library_alone() -> None:
    sources = (ROOT / "prominence_executors" / "runner").glob("*.py")
    imported = {name for source in sources for name in _imported(ast.parse(source.read_text()))}

    carried = {"cloudpickle", "prominence_runner"}
    assert imported - set(sys.stdlib_module_names) == carried


def _imported(node: ast.AST) -> Iterator[str]:
    """Top-level names of the modules that are imported when a program runs."""
    if isinstance(node, ast.Import):
        yield from (each.name.split(".")[0] for each in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield (node.module or "").split(".")[0]
    elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from _imported(child)


def test_the_environment_is_read_in_one_place() -> None:
    passes_on = {"daemon.py", "inherited.py"}  # give a few plain variables to processes that they start
    in_jobs = {"main.py"}  # what the service sets there
    readers = {
        file.parent.name if file.parent.name == "settings" else file.name
        for package in ("prominence", "prominence_executors")
        for file in (ROOT / package).rglob("*.py")
        if "os.environ" in file.read_text()
    }

    assert readers - passes_on - in_jobs == {"settings"}


def test_the_home_directory_is_found_in_one_place() -> None:
    sources = {
        file.relative_to(ROOT): ast.parse(file.read_text())
        for package in ("prominence", "prominence_executors")
        for file in (ROOT / package).rglob("*.py")
    }
    readers = {
        path.parent.name
        for path, tree in sources.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"home", "expanduser"})
        or (isinstance(node, ast.Constant) and node.value == ".prominence")
    }

    assert readers == {"settings"}


def test_the_wheel_has_both_packages_and_their_types(tmp_path: Path) -> None:
    hatch = pytest.importorskip("hatchling.builders.wheel", reason="the build backend is not installed here")
    (built,) = hatch.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(built).namelist()

    for package in ("prominence", "prominence_executors"):
        assert f"{package}/__init__.py" in names
        assert f"{package}/py.typed" in names
    assert "prominence_executors/runner/main.py" in names
    assert not [name for name in names if name.startswith("tests/")]


def test_every_module_can_be_imported() -> None:
    for package in ("prominence", "prominence_executors"):
        for file in (ROOT / package).rglob("*.py"):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            if not name.endswith(("__main__", "runner.main")):
                importlib.import_module(name.removesuffix(".__init__"))
