"""Every Python block of the documentation runs, in a process of its own, as a reader would paste it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.service import LocalService

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


def _blocks() -> list[object]:
    return [
        pytest.param(code, id=f"{page.name}-{number}")
        for page in PAGES
        for number, code in enumerate(_BLOCK.findall(page.read_text()), start=1)
    ]


@pytest.mark.parametrize("code", _blocks())
def test_the_block_runs(code: str, service: LocalService, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(code)
    environment = {
        **os.environ,
        "PROMINENCE_URL": service.endpoint.url,
        "PROMINENCE_TOKEN": service.endpoint.token,
        "PROMINENCE_LOCAL_PYTHON": sys.executable,
    }

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr == "" or "progress=True" in code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target
