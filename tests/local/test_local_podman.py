"""Jobs in real containers, where podman is installed; the image is made here, of busybox alone."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from support.service import LocalService, is_alive, shell
from support.until import until
from support.web import WebServer

from prominence import Session
from prominence.exceptions import ImagePullFailed
from prominence.local.machine.files import AttemptFiles
from prominence.settings import RuntimeSettings
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTIONS = (
    "",
    "--runtime runc --cgroup-manager=cgroupfs",
)  # control groups of two kinds
_APPLETS = [
    "sh",
    "echo",
    "env",
    "cat",
    "ls",
    "sleep",
    "setsid",
    "mkdir",
    "pwd",
    "wget",
    "grep",
    "touch",
    "test",
    "tail",
]


def _root_filesystem() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in ("bin", "tmp", "etc", "proc", "sys", "dev", "run", "home", "mnt"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        archive.add(shutil.which("busybox") or "", "bin/busybox")
        for name in _APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return made.getvalue()


def _is_static(program: str) -> bool:
    return b"/lib64/ld-linux" not in Path(program).read_bytes()[:4096]


@pytest.fixture(scope="module")
def podman() -> Iterator[list[str]]:
    """The words that begin a podman command which works here, its storage apart from the user's."""
    busybox = shutil.which("busybox")
    if shutil.which("podman") is None or busybox is None or not _is_static(busybox):
        pytest.skip("podman and a static busybox are not installed")
    with tempfile.TemporaryDirectory(prefix="pm") as directory:  # short: sockets lie below it
        places = f"--root {directory}/storage --runroot {directory}/run --tmpdir {directory}/libpod"
        image = Path(directory, "image.tar")
        image.write_bytes(_root_filesystem())
        complaint = b""
        for options in _OPTIONS:
            words = ["podman", "--log-level=error", *places.split(), *options.split()]
            subprocess.run(
                [*words, "import", "--quiet", image, "localhost/try"], check=False, capture_output=True
            )
            limits = ("--ulimit=nofile=64:64", "--ulimit=nproc=4096:4096")
            run = [*words, "run", "--rm", "--network=host", "--pid=host", *limits]
            tried = subprocess.run(
                [*run, "localhost/try", "/bin/echo", "works"], check=False, capture_output=True
            )
            complaint = tried.stderr
            if tried.stdout == b"works\n":
                yield words
                subprocess.run([*words, "system", "reset", "--force"], check=False, capture_output=True)
                return
    pytest.skip(f"podman cannot run a container here: {complaint.decode().strip()[-300:]}")


@pytest.fixture(scope="module")
def contained(podman: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    """A service that runs commands in podman, and has the image ``box.tar``; its minutes are seconds."""
    runtime = RuntimeSettings("podman", " ".join(podman[1:]))
    directory = tmp_path_factory.mktemp("podman")
    with LocalService(directory, cpus=8, memory=64, minute=1.0, runtime=runtime) as service:
        url = service.request("POST", "/data/upload", json={"filename": "box.tar"}).json()["url"]
        assert requests.put(url, data=_root_filesystem(), timeout=30).ok
        yield service


def post(service: LocalService, command: str | None, **fields: Any) -> int:
    resources = {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1, "walltime": 60, **fields.pop("resources", {})}
    task = {"image": "box.tar", "runtime": "singularity", **fields.pop("task", {})}
    if command is not None:
        task["cmd"] = command
    answer = service.request("POST", "/jobs", json={"resources": resources, "tasks": [task], **fields})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def _task(ended: dict[str, Any]) -> dict[str, Any]:
    (task,) = ended["execution"]["tasks"]
    return task


def _left(podman: list[str], job_id: int) -> list[str]:
    """Containers of a job; those of jobs before it may not have ended yet."""
    listed = subprocess.run([*podman, "ps", "--all", "--format=json"], check=True, capture_output=True)
    names = [name for each in json.loads(listed.stdout) for name in each["Names"]]
    return [name for name in names if f"-{job_id}-" in name]


def test_a_job_in_a_container_sees_what_it_is_promised(contained: LocalService, podman: list[str]) -> None:
    env = {"DATA": "a b", "LINES": "one\ntwo"}
    job_id = post(contained, "env", task={"env": env, "workdir": "/tmp"})

    ended = contained.ended(job_id)
    seen = dict(line.split("=", 1) for line in contained.output(job_id).splitlines() if "=" in line)

    assert _task(ended)["exitCode"] == 0, contained.output(job_id, "stderr")
    assert seen["HOME"] == "/home/user"
    assert seen["USER"] == "user"
    assert {seen[name] for name in ("TMP", "TEMP", "TMPDIR", "PWD") if name in seen} == {"/tmp"}
    assert (seen["DATA"], seen["LINES"]) == ("a b", "one")
    assert seen["PROMINENCE_CONTAINER_RUNTIME"] == "podman"
    assert seen["PROMINENCE_JOB_ID"] == str(job_id)
    assert "PROMINENCE_LOCAL_PYTHON" not in seen
    assert "podman version" in ended["execution"]["runtimeVersion"]["podman"]
    assert len(_task(ended)["imageSha256"]) == 64
    assert _task(ended)["cpuTimeUsage"] > 0
    assert _left(podman, job_id) == []


def test_files_come_and_go_as_without_a_container(contained: LocalService) -> None:
    inputs = [
        {"filename": "in.sh", "content": "IyEvYmluL3NoCnB3ZDsgZWNobyBkYXRhID4gb3V0Cg==", "executable": True}
    ]
    job_id = post(contained, "./in.sh", inputs=inputs, outputFiles=["out"])

    ended = contained.ended(job_id)

    assert contained.output(job_id) == "/home/user\n"
    assert requests.get(ended["outputFiles"][0]["url"], timeout=10).text == "data\n"
    assert _task(ended)["exitCode"] == 0


def test_the_image_is_made_once(contained: LocalService) -> None:
    contained.ended(post(contained, "true"))
    task = _task(contained.ended(post(contained, "sh -c :")))

    assert task["imagePullStatus"] == "cached"
    assert "imagePullTime" not in task


def test_an_artifact_is_mounted_where_the_job_wants_it(contained: LocalService) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        member = tarfile.TarInfo("set/data.txt")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"12345"))
    url = contained.request("POST", "/data/upload", json={"filename": "set.tgz"}).json()["url"]
    assert requests.put(url, data=made.getvalue(), timeout=10).ok
    artifacts = [{"url": "set.tgz", "mountpoint": "set:/mnt/data"}]
    job_id = post(contained, "cat /mnt/data/data.txt", artifacts=artifacts)

    assert _task(contained.ended(job_id))["exitCode"] == 0
    assert contained.output(job_id) == "12345"


def test_a_mountpoint_of_nothing_is_told(contained: LocalService) -> None:
    url = contained.request("POST", "/data/upload", json={"filename": "plain"}).json()["url"]
    assert requests.put(url, data=b"x", timeout=10).ok
    job_id = post(contained, "true", artifacts=[{"url": "plain", "mountpoint": "nothing:/mnt/data"}])

    assert _task(contained.ended(job_id))["exitCode"] == 255
    assert "there is no directory nothing" in contained.output(job_id, "stderr")


@pytest.mark.parametrize(
    ("command", "task", "code"),
    [
        (shell("exit 3"), {}, 3),
        (shell("exit 127"), {}, 127),
        ("no-such-command", {}, 255),
        ("true", {"workdir": "nowhere"}, 255),
        ("true", {"workdir": "/nowhere"}, 255),
        (shell("kill -9 $$"), {}, 137),
    ],
)
def test_exit_codes(contained: LocalService, command: str, task: dict[str, str], code: int) -> None:
    job_id = post(contained, command, task=task)

    assert _task(contained.ended(job_id))["exitCode"] == code, contained.output(job_id, "stderr")


def test_a_job_in_a_container_reaches_the_service(contained: LocalService) -> None:
    header = '--header "Authorization: Bearer $PROMINENCE_TOKEN"'
    job_id = post(contained, shell(f"wget -q -O - {header} --post-data=inside $PROMINENCE_URL/kv/box"))

    assert _task(contained.ended(job_id))["exitCode"] == 0, contained.output(job_id, "stderr")
    assert contained.get("/kv/box").text == "inside"


def test_secrets_are_in_no_command_line(contained: LocalService) -> None:
    job_id = post(contained, "tail -f /dev/null", task={"env": {"SECRET": "hidden-in-a-file"}})
    until(lambda: _supervisor(contained, job_id) and _container_runs(contained, job_id))
    lines = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    contained.request("DELETE", f"/jobs/{job_id}")

    assert any(b"tail" in line for line in lines)
    assert not any(b"hidden-in-a-file" in line or b"PROMINENCE_TOKEN=" in line for line in lines)
    contained.ended(job_id)


_SECONDS = str(100_000 + os.getpid())  # to be told from what other processes of the same tests start
_LASTING = f"(setsid setsid sleep {_SECONDS} &); touch ready; sleep {_SECONDS}"


def _sleepers() -> list[int]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if file.read_bytes().split(b"\0")[:2] == [b"sleep", _SECONDS.encode()]:
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("how", [pytest.param("walltime", marks=pytest.mark.full), "delete"])
def test_a_container_is_ended_with_all_that_is_in_it(
    contained: LocalService, podman: list[str], how: str
) -> None:
    job_id = post(contained, shell(_LASTING), resources={"walltime": 3 if how == "walltime" else 600})
    until(lambda: len(_sleepers()) == 2)
    if how == "delete":
        contained.request("DELETE", f"/jobs/{job_id}")

    ended = contained.ended(job_id)
    until(lambda: "endTime" in contained.describe(job_id)["events"])

    assert ended["status"] == ("killed" if how == "walltime" else "deleted")
    assert _sleepers() == []
    assert _left(podman, job_id) == []


def test_a_lost_supervisor_leaves_no_container(contained: LocalService, podman: list[str]) -> None:
    job_id = post(contained, shell(_LASTING))
    until(lambda: len(_sleepers()) == 2)

    os.kill(_supervisor(contained, job_id), signal.SIGKILL)

    assert contained.ended(job_id)["statusReason"] == "Job was evicted"
    until(lambda: not _sleepers())
    until(lambda: not _left(podman, job_id))


def test_memory_in_a_container_counts(contained: LocalService) -> None:
    grow = shell("x=0123456789abcdef; while :; do x=$x$x; done")
    job_id = post(contained, grow, resources={"memory": 0.3})

    ended = contained.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("killed", "Job used too much memory")


def test_an_image_that_cannot_be_had_fails_the_job(contained: LocalService) -> None:
    job_id = post(contained, "true", task={"image": "library://none"})

    ended = contained.ended(job_id)

    assert (ended["status"], ended["statusReason"]) == ("failed", "Container image pull failed")
    assert set(_task(ended)) == {"imagePullStatus", "imagePullTime"}
    assert "image library://none: only apptainer can fetch from library://" in contained.output(
        job_id, "stderr"
    )


def test_the_signature_of_an_images_url_is_not_told(contained: LocalService) -> None:
    with WebServer({}) as web:
        job_id = post(contained, "true", task={"image": f"{web.url}/x.tar?Signature=secret"})
        ended = contained.ended(job_id)

    assert ended["statusReason"] == "Container image pull failed"
    assert contained.output(job_id, "stderr") == (
        f"prominence: image {web.url}/x.tar: 127.0.0.1 answered 404\n"
    )


def test_without_a_command_the_images_own_runs(
    contained: LocalService, podman: list[str], tmp_path: Path
) -> None:
    (tmp_path / "root.tar").write_bytes(_root_filesystem())
    change = 'ENTRYPOINT ["/bin/echo", "from the image"]'
    subprocess.run(
        [*podman, "import", "--quiet", f"--change={change}", tmp_path / "root.tar", "localhost/speaks:1"],
        check=True,
        capture_output=True,
    )
    own = post(contained, None, task={"image": "localhost/speaks:1"})
    ours = post(contained, "echo ours", task={"image": "localhost/speaks:1"})

    assert _task(contained.ended(own))["exitCode"] == 0
    assert contained.output(own) == "from the image\n"
    contained.ended(ours)
    assert contained.output(ours) == "ours\n"


def test_saved_images_and_directories_are_images_too(
    contained: LocalService, podman: list[str], tmp_path: Path
) -> None:
    saved, unpacked = tmp_path / "saved.tar", tmp_path / "unpacked"
    subprocess.run([*podman, "save", "--quiet", "-o", saved, "localhost/try"], check=True)
    with tarfile.open(fileobj=io.BytesIO(_root_filesystem())) as archive:
        archive.extractall(unpacked, filter="tar")

    for image in (saved, unpacked):
        job_id = post(contained, "echo works", task={"image": str(image)})
        ended = contained.ended(job_id)
        assert contained.output(job_id) == "works\n", contained.output(job_id, "stderr")
        assert _task(ended)["imagePullStatus"] == "completed"


def _supervisor(service: LocalService, job_id: int) -> int:
    files = AttemptFiles(service.state.attempts / f"{job_id}-1")
    return until(files.claimed_by).pid


def _container_runs(service: LocalService, job_id: int) -> bool:
    attempt = str(service.state.attempts / f"{job_id}-1").encode()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"tail") or (b"tail" in words and attempt not in file.read_bytes()):
            return is_alive(int(file.parent.name))
    return False


def test_an_unknown_image_fails_the_future(contained: LocalService) -> None:
    with Session(contained.settings()) as session, ProminenceExecutor(session=session) as executor:
        future = executor.with_options(image="library://none").submit(len, "")

        with pytest.raises(
            ImagePullFailed, match="Container image pull failed; check the image's name"
        ) as caught:
            future.result()

    assert "library://none" in caught.value.stderr
    assert "last lines of its standard error" in future.explain()
