"""The page about failed requests says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from prominence.client.budget import RETRIES_AT_ONCE, RETRIES_PER_S
from prominence.client.retry import TABLE, Happened, Kind
from prominence.client.transport import DEADLINE_S, SETTLE_LOCAL_S, SETTLE_REMOTE_S

PAGE: Final = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()


def _first_table() -> list[list[str]]:
    (table,) = re.findall(r"^\| what happened .*?(?=^$)", PAGE, re.MULTILINE | re.DOTALL)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_table_of_retries_is_the_code_s() -> None:
    (_, *kinds), _, *rows = _first_table()
    assert kinds == [kind.value for kind in Kind]
    assert {happened: actions for happened, *actions in rows} == {
        happened.value: [TABLE[kind, happened].value for kind in Kind] for happened in Happened
    }


@pytest.mark.parametrize(
    "text",
    [
        f"the {DEADLINE_S:.0f} seconds that a request has",
        f"{RETRIES_AT_ONCE} at once, then {RETRIES_PER_S:.0f} a second",
        f"{SETTLE_REMOTE_S:.0f} seconds, or what",
        f"({SETTLE_LOCAL_S:.0f} seconds for the service on this machine)",
    ],
)
def test_the_numbers_are_the_code_s(text: str) -> None:
    assert text in PAGE
