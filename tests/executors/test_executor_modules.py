"""The user's own modules in jobs whose Python sees nothing of the driver's."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from prominence import Session
from prominence.exceptions import MissingDependency
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from support.service import LocalService


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter without any packages, this project's among them."""
    folder = tmp_path_factory.mktemp("other-python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin" / "python")


@pytest.fixture
def executor(service: LocalService, other_python: str) -> Iterator[ProminenceExecutor]:
    settings = service.settings()
    settings = replace(settings, local=replace(settings.local, python=other_python))
    with Session(settings) as session, ProminenceExecutor(session=session) as executor:
        yield executor


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package of the user's own, beside the program."""
    folder = tmp_path / "driver" / "shipped_model"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .parts import Part, double\n")
    (folder / "parts.py").write_text(
        "import shipped_helper\n\n"
        "class Part:\n"
        "    def __init__(self, size): self.size = size\n\n"
        "def double(part): return Part(shipped_helper.twice(part.size))\n"
    )
    (folder.parent / "shipped_helper.py").write_text(
        "import functools\n\n"
        "def twice(x): return 2 * x\n\n"
        "@functools.cache\n"
        "def remembered(x): return twice(x)\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    yield importlib.import_module("shipped_model")
    for name in [each for each in sys.modules if each.startswith("shipped_")]:
        del sys.modules[name]


def test_what_a_call_reaches_is_there(executor: ProminenceExecutor, model: ModuleType) -> None:
    def run(part: Any) -> tuple[str, Any]:
        import shipped_helper  # type: ignore[import-not-found]

        return shipped_helper.__file__, model.double(part)

    file, part = executor.submit(run, model.Part(4)).result()

    driver = Path(model.__file__ or "").parents[1]
    assert driver not in Path(file).parents
    assert (type(part), part.size) == (model.Part, 8)


def test_the_remote_traceback_shows_lines_of_modules_that_were_sent(
    executor: ProminenceExecutor, model: ModuleType
) -> None:
    with pytest.raises(AttributeError) as caught:
        executor.submit(model.double, None).result()

    text = str(caught.value.__cause__)
    assert "def double(part): return Part(shipped_helper.twice(part.size))\n" in text
    assert str(Path(model.__file__ or "").parent) not in text


def test_classes_of_arguments_are_there_though_the_function_is_none_of_ours(
    executor: ProminenceExecutor, model: ModuleType
) -> None:
    assert executor.submit(getattr, model.Part(3), "size").result() == 3


def test_the_module_of_a_function_that_remembers_its_results_is_there(
    executor: ProminenceExecutor, model: ModuleType
) -> None:
    assert executor.submit(model.parts.shipped_helper.remembered, 3).result() == 6


def test_no_module_is_sent_when_none_is_to_be(executor: ProminenceExecutor, model: ModuleType) -> None:
    future = executor.with_options(ship=None).submit(model.double, model.Part(1))

    with pytest.raises(MissingDependency, match=r"has no module 'shipped_model'.*ship=\['shipped_model'\]"):
        future.result()


def test_modules_are_sent_as_they_were_when_they_were_first_needed(
    executor: ProminenceExecutor, model: ModuleType
) -> None:
    assert executor.submit(model.double, model.Part(3)).result().size == 6
    helper = Path(model.__file__ or "").parents[1] / "shipped_helper.py"
    helper.write_text("def twice(x): return 5 * x\n")

    assert executor.submit(model.double, model.Part(3)).result().size == 6
    assert executor.with_options(ship="auto").submit(model.double, model.Part(3)).result().size == 15


def test_chosen_modules_are_sent(executor: ProminenceExecutor, model: ModuleType) -> None:
    def late() -> str:
        import shipped_helper
        from shipped_model import parts  # type: ignore[import-not-found]

        return f"{parts.double.__name__} {shipped_helper.twice(2)}"

    with pytest.raises(ModuleNotFoundError):
        executor.submit(late).result()
    chosen = executor.with_options(ship=[model, "shipped_helper"])
    assert chosen.submit(late).result() == "double 4"


def test_a_large_archive_of_modules_is_stored_once(
    executor: ProminenceExecutor, model: ModuleType, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(0).integers(1 << 62, size=12_000).tolist()
    (tmp_path / "driver" / "shipped_model" / "table.py").write_text(f"TABLE = {numbers}\n")

    def last() -> int:
        from shipped_model.table import TABLE

        return int(TABLE[-1]) + model.double(model.Part(0)).size

    first, second = (executor.submit(last) for _ in range(2))

    assert (first.result(), second.result()) == (numbers[-1], numbers[-1])
    assert [each.name for each in first.job.artifacts] == [each.name for each in second.job.artifacts]
    assert "prominence-modules.zip" not in [each.filename for each in first.job.input_files]


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_what_is_installed_is_not_sent_wherever_that_is(
    executor: ProminenceExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    place = tmp_path / "home" / ".local" / "lib" / "python3" / folder
    place.mkdir(parents=True)
    (place / "shipped_by_nobody.py").write_text("def one(): return 1\n")
    monkeypatch.syspath_prepend(place)
    installed = importlib.import_module("shipped_by_nobody")
    monkeypatch.setitem(sys.modules, "shipped_by_nobody", sys.modules.pop("shipped_by_nobody"))

    with pytest.raises(MissingDependency, match="has no module 'shipped_by_nobody'"):
        executor.submit(installed.one).result()


def test_a_package_that_the_image_lacks_is_named(executor: ProminenceExecutor) -> None:
    image = executor.with_options(image="small:1")

    with pytest.raises(MissingDependency, match="image small:1 has no module 'numpy") as caught:
        image.submit(np.sum, [1, 2]).result()

    assert caught.value.image == "small:1"
    assert caught.value.module.startswith("numpy")
