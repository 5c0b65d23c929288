"""Callables of many kinds, for calls; every job of theirs imports this module."""

from __future__ import annotations

import functools
import math
from typing import Any


def describe(*args: object, **kwargs: object) -> tuple[Any, Any]:
    return args, kwargs


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def moved(self, by: int) -> Point:
        return Point(self.x + by)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.x == other.x

    __hash__ = object.__hash__


@functools.cache
def remembered(x: int) -> float:
    return math.sqrt(x)


class Maker:
    def __call__(self, x: int) -> int:
        return x + 1

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    @staticmethod
    def doubled(x: int) -> int:
        return 2 * x


async def tripled(x: int) -> int:
    import asyncio

    await asyncio.sleep(0)
    return 3 * x


class Waiter:
    async def __call__(self, x: int) -> int:
        return await tripled(x)

    async def method(self, x: int) -> int:
        import asyncio

        return await asyncio.wait_for(tripled(x), 60)
