"""The rule for a whole request: its size, which is refused by naming what makes it so large."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from prominence.description.checks import ROOT, join
from prominence.exceptions import InvalidDescription

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REQUEST: Final = 1024 * 1024
"""Bytes of a whole description as JSON; the service answers 413 beyond, where it enforces the limit."""

_MOST_OF_IT: Final = 0.5


def check_size(description: Mapping[str, Any], size: int) -> None:
    """Raises InvalidDescription for a description of too many bytes as JSON; it names the largest part."""
    if size <= MAX_REQUEST:
        return
    part, part_size = _largest_part(ROOT, description)
    rule = (
        f"the largest part of a request of {size} bytes as JSON, which may have {MAX_REQUEST}: "
        "upload it once and name it as an artifact, or let the job read or make large data itself"
    )
    raise InvalidDescription(part, f"{part_size} bytes", rule)


def _largest_part(path: str, value: Any) -> tuple[str, int]:
    """The innermost part that has most of what is around it, and its size."""
    size = len(json.dumps(value))
    found = [(len(json.dumps(part)), where, part) for where, part in _parts(path, value)]
    if not found:
        return path, size
    part_size, where, part = max(found, key=lambda each: each[0])
    return _largest_part(where, part) if part_size >= size * _MOST_OF_IT else (path, size)


def _parts(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [(join(path, str(name)), part) for name, part in value.items()]
    if isinstance(value, list):
        return [(f"{path}[{index}]", part) for index, part in enumerate(value)]
    return []
