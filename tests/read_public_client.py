"""Read the names of the public client 0.21.0, for the test that they are all still there.

Run by hand: ``python tests/read_public_client.py`` installs it in a virtual environment of its own, imports
it there and writes ``tests/public_client_surface.json``.
"""

from __future__ import annotations

import subprocess
import tempfile
import venv
from pathlib import Path

VERSION = "0.21.0"
SURFACE = Path(__file__).with_name("public_client_surface.json")

READER = """
import importlib, inspect, json, pkgutil, sys
import prominence

def parameters(function):
    found = inspect.signature(function).parameters.values()
    return [
        {"name": each.name} if each.default is each.empty else {"name": each.name, "default": each.default}
        for each in found
        if each.name != "self"
    ]

def described(thing):
    if inspect.isfunction(thing):
        return {"kind": "function", "parameters": parameters(thing)}
    if issubclass(thing, BaseException):
        return {"kind": "exception"}
    members = {name: value for name, value in inspect.getmembers(thing) if not name.startswith("_")}
    return {
        "kind": "class",
        "parameters": parameters(thing.__init__),
        "methods": {name: parameters(each) for name, each in members.items() if inspect.isfunction(each)},
        "properties": [name for name, each in members.items() if isinstance(each, property)],
    }

def named(module):
    own = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith("prominence")
        and (module is prominence or value.__module__ == module.__name__)
    }
    return {name: described(value) for name, value in sorted(own.items())}

modules = ["prominence"] + ["prominence." + each.name for each in pkgutil.iter_modules(prominence.__path__)]
modules.remove("prominence.cli")  # a command, not for import
surface = {name: named(importlib.import_module(name)) for name in modules}
json.dump({"version": prominence.__version__, "modules": surface}, sys.stdout, indent=1)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = Path(directory) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"prominence=={VERSION}"], check=True)
        found = subprocess.run([python, "-I", "-c", READER], check=True, capture_output=True, text=True)
    SURFACE.write_text(found.stdout + "\n")


if __name__ == "__main__":
    main()
