"""The document of the local service's API, held against its routes and against its answers."""

from __future__ import annotations

import copy
import importlib
import json
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from support.service import LocalService

from prominence.local import api

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT: dict[str, Any] = json.loads((Path(api.__file__).parent / "openapi.json").read_text())
UNKNOWN = 99_999
UNDOCUMENTED = {"/local/rough"}  # for tests of clients, and only where it was asked for


def tame(document: dict[str, Any]) -> dict[str, Any]:
    """The same API with commands that may be run on this machine, and no long waits."""
    tamed = copy.deepcopy(document)
    for operations in tamed["paths"].values():
        for parameter in operations.get("parameters", ()):
            if parameter["name"] == "id":
                parameter["schema"] = {"enum": [1, 2, 3, UNKNOWN]}
    for path in ("/jobs", "/workflows"):
        (wait,) = [each for each in tamed["paths"][path]["get"]["parameters"] if each["name"] == "wait"]
        wait["schema"]["maximum"] = 0.01
    schemas = tamed["components"]["schemas"]
    schemas["Task"]["properties"]["cmd"] = {"enum": ["true", "echo there", "echo $x", "sleep 600"]}
    execute = tamed["paths"]["/jobs/{id}/exec"]["post"]["parameters"]
    execute[0]["schema"] = {"enum": ["ls", "false"]}
    return tamed


few, all_kinds = (schemathesis.openapi.from_dict(tame(DOCUMENT)) for _ in range(2))
few.config.phases.coverage.enabled = False  # one case for each way to break a rule: thousands
QUICK = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service where job 1 has ended, with an output, job 2 runs, and 3 is a workflow."""
    with LocalService(tmp_path_factory.mktemp("described"), cpus=8, memory=64) as service:
        output = {"inputs": [{"filename": "one.txt", "content": "MQ=="}], "outputFiles": ["one.txt"]}
        assert service.post_job("true", labels={"a": "b"}, **output) == 1
        assert service.post_job("sleep 600", policies={"leaveInQueue": True}) == 2
        example = DOCUMENT["paths"]["/workflows"]["post"]["requestBody"]["content"]["application/json"][
            "example"
        ]
        assert service.request("POST", "/workflows", json=example).json() == {"id": 3}
        service.ended(1)
        yield service


def check(service: LocalService, case: schemathesis.Case) -> None:
    case.call_and_validate(
        base_url=service.endpoint.url,
        headers={"Authorization": f"Bearer {service.endpoint.token}"},
        timeout=60,
        checks=[
            not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ],
    )


@few.parametrize()
@QUICK
def test_answers_are_as_described(described: LocalService, case: schemathesis.Case) -> None:
    check(described, case)


@pytest.mark.full
@all_kinds.parametrize()
@settings(QUICK, max_examples=100)
def test_many_answers_are_as_described(described: LocalService, case: schemathesis.Case) -> None:
    check(described, case)


def routes() -> set[tuple[str, str]]:
    """Paths with their parameters unnamed, and methods, of all groups of routes."""
    modules = [
        importlib.import_module(f"{api.__name__}.{each.name}") for each in pkgutil.iter_modules(api.__path__)
    ]
    groups = {
        value
        for module in modules
        for name, value in vars(module).items()
        if re.fullmatch(r"\w+Routes", name)
    }
    found = [route for group in groups for route in object.__new__(group).routes()]
    return {
        (re.sub(r"{\w+:\w+}", "{}", path), method)
        for route in found
        for path in (
            [route.path.replace("{stream:str}", stream) for stream in ("stdout", "stderr")]
            if "{stream:str}" in route.path
            else [route.path]
        )
        for method in route.methods - {"HEAD"}
    }


def test_every_route_is_described_and_nothing_else() -> None:
    described = {
        (re.sub(r"{\w+}", "{}", path), method.upper())
        for path, operations in DOCUMENT["paths"].items()
        for method in operations.keys() - {"parameters"}
    }

    assert {each for each in routes() if each[0] not in UNDOCUMENTED} == described


def test_the_document_is_for_anybody_on_this_machine(service: LocalService) -> None:
    answer = requests.get(f"{service.endpoint.url}/openapi.json", timeout=10)

    assert (answer.status_code, answer.json()) == (200, DOCUMENT)
