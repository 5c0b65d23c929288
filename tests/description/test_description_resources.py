"""Resources: defaults that give way, and choices that exclude each other."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import TYPE_CHECKING

import pytest

from prominence.description import JobDescription, Resources, Task
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_specified_signature() -> None:
    parameters = inspect.signature(Resources).parameters
    defaults = {name: parameters[name].default for name in list(parameters)[:5]}
    assert defaults == {"cpus": 1, "memory": 1, "disk": 10, "nodes": 1, "walltime": 720}
    assert list(defaults) == ["cpus", "memory", "disk", "nodes", "walltime"]
    assert str(parameters["cpus"]).endswith("= 1")


def test_defaults_are_sent() -> None:
    sent = Resources().to_dict()
    assert sent == {"nodes": 1, "cpus": 1, "memory": 1, "disk": 10, "walltime": 720}
    assert {type(value) for value in sent.values()} == {int}
    assert json.loads(json.dumps(sent)) == sent


def test_positional_in_the_specified_order() -> None:
    assert Resources(2, 3, 4, 5, 6).to_dict() == {
        "cpus": 2,
        "memory": 3,
        "disk": 4,
        "nodes": 5,
        "walltime": 6,
    }


def test_memory_per_cpu_drops_the_default_of_memory() -> None:
    resources = Resources(memory_per_cpu=2)
    assert resources.memory is None
    assert resources.to_dict() == {
        "nodes": 1,
        "cpus": 1,
        "memoryPerCpu": 2,
        "disk": 10,
        "walltime": 720,
    }


@pytest.mark.parametrize(
    ("attribute", "wire"), [("cpus_range", "cpusRange"), ("cpus_options", "cpusOptions")]
)
def test_cpu_choices_drop_the_default_of_cpus(attribute: str, wire: str) -> None:
    resources = Resources()
    setattr(resources, attribute, (2, 8))
    assert resources.cpus is None
    sent = resources.to_dict()
    assert sent[wire] == [2, 8]
    assert "cpus" not in sent
    assert Resources(**{attribute: [2, 8]}) == resources


@pytest.mark.parametrize("attribute", ["cpus_range", "cpus_options", "total_cpus_range"])
def test_an_interval_may_be_set_bit_by_bit_and_counts_once_it_is_whole(attribute: str) -> None:
    resources = Resources()
    interval = getattr(resources, attribute)
    assert (interval.min, interval.max) == (None, None)
    getattr(resources, attribute).max = 8
    assert (interval.min, interval.max) == (None, 8)
    assert resources == Resources()
    getattr(resources, attribute).min = 2
    assert resources == Resources(**{attribute: (2, 8)})
    assert interval == interval.to_dict() == [2, 8]
    interval.max = 4
    assert resources == Resources(**{attribute: (2, 4)})
    interval.min = None
    assert resources == Resources()


def test_an_interval_beside_chosen_cpus_is_found_before_anything_is_sent() -> None:
    job = JobDescription(resources=Resources(cpus=2), tasks=[Task(image="alpine", command="true")])
    job.resources.cpus_range.min = 1
    job.resources.cpus_range.max = 4
    with pytest.raises(InvalidDescription, match="cpus"):
        job.validate()


@pytest.mark.parametrize("wrong", [(1, 2, 3), [1], "1-4", 4])
def test_what_is_no_interval_is_left_to_the_rules(wrong: object) -> None:
    job = JobDescription(tasks=[Task(image="alpine", command="true")])
    job.resources.cpus_range = wrong  # type: ignore[assignment]
    with pytest.raises(InvalidDescription) as caught:
        job.validate()
    assert caught.value.field == "resources.cpusRange"


def test_a_total_stands_beside_cpus() -> None:
    sent = Resources(total_cpus_range=(4, 16)).to_dict()
    assert sent["totalCpusRange"] == [4, 16]
    assert sent["cpus"] == 1


def test_the_default_is_back_when_its_replacement_goes() -> None:
    resources = Resources(memory_per_cpu=2)
    resources.memory_per_cpu = None
    assert resources.memory == 1


def _assign(first: str, second: str) -> Callable[[], None]:
    def assign() -> None:
        resources = Resources(**{first: 1})  # type: ignore[arg-type]
        setattr(resources, second, 2)

    return assign


CONFLICTS = {
    "memory 1 chosen, per cpu": (
        lambda: Resources(memory=1, memory_per_cpu=2),
        "memoryPerCpu",
        "memory is 1",
    ),
    "cpus 1 chosen, range": (lambda: Resources(1, cpus_range=(1, 4)), "cpusRange", "cpus is 1"),
    "cpus chosen, options": (lambda: Resources(2, cpus_options=(1, 4)), "cpusOptions", "cpus is 2"),
    "range and options": (
        lambda: Resources(cpus_range=(1, 2), cpus_options=(1, 4)),
        "cpusOptions",
        "cpusRange is",
    ),
    "memory assigned": (_assign("memory_per_cpu", "memory"), "memory", "memoryPerCpu is 1"),
    "per cpu assigned": (_assign("memory", "memory_per_cpu"), "memoryPerCpu", "memory is 1"),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_two_choices_on_purpose_are_refused_at_once(case: str) -> None:
    action, field, rule = CONFLICTS[case]
    with pytest.raises(InvalidDescription, match=rule) as caught:
        action()
    assert caught.value.field == field


def test_a_refused_assignment_changes_nothing_and_none_makes_room() -> None:
    resources = Resources(memory=4)
    with pytest.raises(InvalidDescription):
        resources.memory_per_cpu = 2
    assert (resources.memory, resources.memory_per_cpu) == (4, None)
    resources.memory = None
    resources.memory_per_cpu = 2
    assert resources.to_dict()["memoryPerCpu"] == 2


def test_an_assigned_default_value_counts_as_chosen() -> None:
    resources = Resources()
    resources.cpus = 1
    with pytest.raises(InvalidDescription):
        resources.cpus_range = (1, 2)


def test_copies_keep_what_was_a_default() -> None:
    for double in (copy.deepcopy(Resources()), pickle.loads(pickle.dumps(Resources()))):  # noqa: S301
        double.memory_per_cpu = 3
        assert double.memory is None


def test_json_without_a_field_stays_without_it() -> None:
    sent = {"cpus": 1, "memory": 1, "disk": 1}
    assert Resources.from_dict(sent).to_dict() == sent
    assert Resources.from_dict(sent).walltime is None


def test_json_with_two_choices_is_refused_with_its_path() -> None:
    data = {"tasks": [], "resources": {"cpus": 1, "memory": 1, "memoryPerCpu": 2, "disk": 1}}
    with pytest.raises(InvalidDescription) as caught:
        JobDescription.from_dict(data)
    assert caught.value.field == "resources.memoryPerCpu"


def test_equality_and_repr() -> None:
    assert Resources() == Resources(cpus=1, memory=1)
    assert Resources(cpus_range=(1, 2)) == Resources(cpus_range=[1, 2])
    assert Resources() != Resources(memory=2)
    assert repr(Resources(memory_per_cpu=2)) == (
        "Resources(nodes=1, cpus=1, memory_per_cpu=2, disk=10, walltime=720)"
    )


def test_a_fraction_of_memory_is_only_a_warning() -> None:
    job = JobDescription(tasks=[Task(image="a")], resources=Resources(memory=0.5))
    assert [(v.field, v.kind, v.hangs) for v in job.validate()] == [("resources.memory", "server-bug", False)]
