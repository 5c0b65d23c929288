"""The runner in a Python that lacks much of its standard library, as Debian's python3-minimal does."""

from __future__ import annotations

import json
import operator
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from prominence_executors.calls import packing
from prominence_executors.calls.modules import Shipment
from prominence_executors.calls.objects import ObjectStore
from prominence_executors.calls.packing import Packer
from prominence_executors.calls.pickling import headed
from prominence_executors.calls.results import Record
from prominence_executors.runner import main as runner
from prominence_executors.runner.fence import FREE, VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService

LACKING: Final = ("base64", "concurrent", "dataclasses", "http", "json", "queue", "uuid")
CUT_DOWN: Final = f"""
import runpy, sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name in {LACKING}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Lacking())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_call_behind_a_fence(service: LocalService, tmp_path: Path) -> None:
    key = "prominence/tests/cut-down"
    service.request("POST", f"/kv/{key}", data=FREE)
    stream = pickle.dumps((operator.mul, ("oh", 2), {}), protocol=5)
    header = {"python": list(sys.version_info[:2]), "cloudpickle": "none", "buffers": []}
    (tmp_path / "call").write_bytes(headed(header, stream))
    (tmp_path / "runner.py").write_bytes(packing.runner())
    (tmp_path / "pickler.zip").write_bytes(packing.pickler())
    (tmp_path / "python.py").write_text(CUT_DOWN)

    done = subprocess.run(
        [sys.executable, "-I", "-S", "python.py", "runner.py", "call", "result", "pickler.zip", "none.zip"],
        cwd=tmp_path,
        env={
            "PROMINENCE_URL": service.endpoint.url,
            "PROMINENCE_TOKEN": service.endpoint.token,
            "PROMINENCE_JOB_ID": "17",
            VARIABLE: f"{key} commit",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert Record.parse((tmp_path / "result").read_bytes()).value("an image") == "ohoh"
    assert service.get(f"/kv/{key}").text.startswith("17:")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"kind": "value", "sizes": [1, 2], "seconds": 0.25, "module": None, "nested": [{"a": []}]},
        {"text": 'quotes " and \\ and \n, \x00, é, 😀, \ud800'},
    ],
)
def test_what_it_writes_for_json_is_json(value: Any) -> None:
    assert json.loads(runner.as_json(value)) == value


def test_the_pickler_of_the_caller_is_used_where_another_one_is_installed(tmp_path: Path) -> None:
    packer = Packer(ObjectStore(cast("Any", None), "session"), Shipment(None))
    packed = packer.call(lambda word: word * 2, ("oh",), {})
    for each in packed.files.input_files:
        (tmp_path / each.filename).write_bytes(each.read())
    installed = tmp_path / "site"
    (installed / "cloudpickle").mkdir(parents=True)
    (installed / "cloudpickle-0.1.dist-info").mkdir()
    (installed / "cloudpickle" / "__init__.py").write_text("raise RuntimeError('of another version')\n")

    done = subprocess.run(
        [sys.executable, *packed.files.command().split()[1:]],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert Record.parse((tmp_path / packing.RESULT).read_bytes()).value("an image") == "ohoh"
