"""How many instances factories make, with which values, and how those are filled in."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from prominence.local.factories import expansion, fill, fill_job, parameter_environment


def _ranges(*ranges: tuple[float, float, float]) -> dict[str, Any]:
    parameters = [
        {"name": name, "start": start, "end": end, "step": step}
        for name, (start, end, step) in zip("vwxy", ranges, strict=False)
    ]
    return {"type": "parameterSweep", "parameters": parameters}


def _values(factory: dict[str, Any]) -> list[tuple[Any, ...]]:
    found = expansion(factory)
    return [tuple(found.values(instance).values()) for instance in range(found.count)]


@pytest.mark.parametrize(
    ("start", "end", "step", "values"),
    [
        (0, 1, 0.5, [0, 0.5, 1]),
        (0, 0.3, 0.1, [0, 0.1, 0.2, 0.3]),
        (0.1, 0.7, 0.1, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        (1, 2, 0.4, [1, 1.4, 1.8]),
        (-1, 1, 1, [-1, 0, 1]),
        (5, 5, 3, [5]),
        (6, 5, 1, []),
        (1e-9, 3e-9, 1e-9, [1e-9, 2e-9, 3e-9]),
        (2**53, 2**53 + 2, 1, [2**53, 2**53 + 1, 2**53 + 2]),
    ],
)
def test_steps_of_a_range_are_exact(start: float, end: float, step: float, values: list[float]) -> None:
    found = [each for (each,) in _values(_ranges((start, end, step)))]

    assert found == values
    assert [type(each) for each in found] == [type(each) for each in values]


def test_steps_do_not_drift() -> None:
    found = _values(_ranges((0, 1000, 0.1)))

    assert len(found) == 10_001
    assert all(value == index / 10 for index, (value,) in enumerate(found))


def test_of_several_ranges_the_last_varies_fastest() -> None:
    factory = _ranges((1, 2, 1), (10, 30, 10), (0, 0.5, 0.5), (7, 7, 1))

    assert _values(factory) == list(product((1, 2), (10, 20, 30), (0, 0.5), (7,)))
    assert list(expansion(factory).values(0)) == ["v", "w", "x", "y"]


def test_a_huge_sweep_is_counted_without_being_made() -> None:
    assert expansion(_ranges((0, 1e300, 1e-300), (0, 1, 1))).count == 2 * (10**600 + 1)


def test_a_zip_takes_the_values_in_turn() -> None:
    parameters = [{"name": "x", "values": [1, 2.0, "a b"]}, {"name": "y", "values": ["", 0.5, None]}]

    assert _values({"type": "zip", "parameters": parameters}) == [(1, ""), (2, 0.5), ("a b", None)]


def test_copies_have_no_values() -> None:
    assert _values({"type": "repeat", "number": 3}) == [(), (), ()]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$x", "1"),
        ("a$x.b${x}c", "a1.b1c"),
        ("$xy $x", "2 1"),
        ("$x_ $xyz ${xyz}", "$x_ $xyz ${xyz}"),
        ("$$x $$$x", "$$x $$1"),
        ("$other ${x", "$other ${x"),
        ("", ""),
    ],
)
def test_references_are_filled_in(text: str, filled: str) -> None:
    assert fill(text, {"x": 1.0, "xy": 2}) == filled


def test_a_value_is_not_filled_in_again() -> None:
    assert fill("$x $y", {"x": "$y", "y": "${x}"}) == "$y ${x}"


def test_names_that_mean_something_to_patterns() -> None:
    assert fill("${a.b} ${axb} $(", {"a.b": 1, "(": "p"}) == "1 ${axb} p"


def test_what_of_a_job_is_filled_in() -> None:
    task = {"image": "$x", "cmd": "run $x $$HOME", "env": {"A": "$x"}, "workdir": "$x"}
    template = {
        "name": "$x",
        "tasks": [task, {"image": "i"}],
        "outputFiles": ["$x.out"],
        "outputDirs": ["d/$x"],
        "artifacts": [{"url": "http://host/$x", "executable": True}],
    }

    filled = fill_job(template, {"x": "5$"})

    assert filled == {
        **template,
        "tasks": [{**task, "cmd": "run 5$$ $$HOME"}, {"image": "i"}],
        "outputFiles": ["5$.out"],
        "outputDirs": ["d/5$"],
        "artifacts": [{"url": "http://host/5$", "executable": True}],
    }
    assert template["tasks"][0]["cmd"] == "run $x $$HOME"


def test_values_in_the_environment() -> None:
    found = parameter_environment({"a": 2.0, "b": 1e-07, "c": "x y", "d": 0.5})

    assert found == {
        "PROMINENCE_PARAMETER_a": "2",
        "PROMINENCE_PARAMETER_b": "1e-07",
        "PROMINENCE_PARAMETER_c": "x y",
        "PROMINENCE_PARAMETER_d": "0.5",
    }
