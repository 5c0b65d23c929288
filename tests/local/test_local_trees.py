"""Directories that are deeper than functions of the standard library can follow."""

from __future__ import annotations

import os
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
import requests
from support.service import LocalService, shell
from support.until import until

from prominence.local.trees import bytes_below, remove_tree, with_contents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """Nothing is left of it whatever happens: pytest cannot clean up such trees itself."""
    yield tmp_path / "top"
    remove_tree(tmp_path / "top")


def _make_deep(top: Path, name: str, depth: int) -> None:
    """A directory in a directory and so on, each with a file of one byte beside it."""
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        file = os.open("file", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=here)
        os.write(file, b"x")
        os.close(file)
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


@pytest.mark.parametrize("name", ["d", "d" * 200], ids=["deep", "of long paths"])
def test_a_deep_tree_is_removed(top: Path, name: str) -> None:
    _make_deep(top, name, 3000)

    remove_tree(top)

    assert not top.exists()


def test_links_are_removed_and_what_they_lead_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "top" / "shut").mkdir(mode=0)

    remove_tree(tmp_path / "top")
    remove_tree(tmp_path / "top")

    assert not (tmp_path / "top").exists()
    assert (tmp_path / "kept" / "file").exists()


def test_a_file_is_no_tree(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "file")

    assert (tmp_path / "file").exists()


def test_a_deep_tree_is_measured_and_listed(top: Path) -> None:
    _make_deep(top, "d", 1500)

    assert bytes_below(top) == 1500
    assert sum(1 for _ in with_contents(top)) == 1 + 2 * 1500


def _deep_tree(depth: int) -> str:
    return shell(f"mkdir o; cd o; for i in $(seq {depth}); do mkdir d && cd d || exit 1; done")


def test_a_job_that_makes_a_deep_tree_ends(service: LocalService) -> None:
    job_id = service.post_job(_deep_tree(1200), outputDirs=["o"])

    ended = service.ended(job_id)

    assert (ended["status"], ended.get("statusReason", "")) == ("completed", "")
    archive = requests.get(ended["outputDirs"][0]["url"], timeout=30).content
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        assert len(tar.getnames()) == 1201
    until(lambda: not (service.state.attempts / f"{job_id}-1" / "scratch").exists())


def test_a_job_that_removes_its_own_directory_is_lost(own_service: LocalService) -> None:
    job_id = own_service.post_job(shell("cd ..; until rm -rf $PWD; do :; done"))

    ended = own_service.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("failed", "Job was evicted")
    (resources,) = own_service.get("/resources").json()["existing"]
    assert resources["free"] == resources["capacity"]
