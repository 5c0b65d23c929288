"""The two functions of ``json`` that the runner needs, for images whose Python lacks that package.

Only what headers consist of: objects, lists, text, whole numbers, and None when writing.
"""

from __future__ import annotations

import ast


def loads(text: bytes | bytearray) -> object:
    """Such JSON is Python, too."""
    return ast.literal_eval(text.decode("ascii"))


def dumps(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dumps(key)}: {dumps(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(dumps, value)) + "]"
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    return "null" if value is None else str(int(value))  # type: ignore[call-overload]


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    codes = (units[at] << 8 | units[at + 1] for at in range(0, len(units), 2))
    plain = {code for code in range(32, 127) if chr(code) not in '"\\'}
    return "".join(chr(code) if code in plain else f"\\u{code:04x}" for code in codes)
