"""What the package exports and what it depends on."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import pytest

import prominence.description as package

FOLDER = Path(str(package.__file__)).parent
MODULES = sorted(FOLDER.glob("*.py"))


def test_all_is_what_can_be_imported() -> None:
    assert len(package.__all__) == len(set(package.__all__))
    for name in package.__all__:
        assert hasattr(package, name)


def test_rules_have_one_place() -> None:
    rules = importlib.import_module("prominence.description.rules")
    assert rules.check_job is package.check_job
    assert rules.SUBMISSION_LABEL == "prominencesubmission"


@pytest.mark.parametrize("module", MODULES, ids=[path.stem for path in MODULES])
def test_nothing_but_the_standard_library_and_the_exceptions_is_imported(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            ours = name == "prominence.exceptions" or name.startswith("prominence.description")
            assert ours or name.split(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize(
    ("description", "slip"),
    [
        (package.Resources(), "cpu"),
        (package.Task(), "cmd"),
        (package.JobDescription(), "task"),
        (package.JobPolicies(), "retries"),
    ],
)
def test_a_slip_in_a_property_is_refused(description: object, slip: str) -> None:
    with pytest.raises(AttributeError, match=f"has no property '{slip}'; it has "):
        setattr(description, slip, 1)
