"""What each verb prints and how it ends, against the local service."""

from __future__ import annotations

import json
import re
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.until import until

if TYPE_CHECKING:
    from support.command import Command
    from support.service import LocalService

PAIR = {
    "name": "pair",
    "jobs": [
        {
            "name": "first",
            "resources": {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1},
            "tasks": [{"image": "alpine", "cmd": "sh -c 'echo first; echo oops >&2; echo 1 > out.txt'"}],
            "outputFiles": ["out.txt"],
        },
        {
            "name": "copies",
            "resources": {"cpus": 1, "memory": 1, "disk": 1, "nodes": 1},
            "tasks": [{"image": "alpine", "cmd": "sh -c 'echo copy $i; echo 2 > out.txt'"}],
            "outputFiles": ["out.txt"],
        },
    ],
    "factories": [
        {"name": "i", "type": "zip", "jobs": ["copies"], "parameters": [{"name": "i", "values": ["x", "y"]}]}
    ],
}


@pytest.fixture
def ended(served: Command) -> int:
    """A job that has ended well."""
    job = served.id("create", "--label", "verbs=a", "--label", "kind=b", "alpine", "echo one two")
    served("wait", job)
    return job


class TestList:
    def test_shows_columns_of_ended_jobs(self, served: Command, ended: int) -> None:
        headings, *rows = served("list", "-n", "1000").stdout.splitlines()

        assert headings.split() == ["ID", "NAME", "CREATED", "STATUS", "ELAPSED", "IMAGE", "CMD"]
        (row,) = [row for row in rows if row.split()[0] == str(ended)]
        assert row.split()[-4:] == ["alpine", "echo", "one", "two"]
        assert "completed" in row

    def test_is_sorted_by_id(self, served: Command, ended: int) -> None:
        later = served.id("create", "alpine", "true")
        served("wait", later)

        ids = [job["id"] for job in served.json("list", "-a", "--json")]

        assert ids == sorted(ids)
        assert {ended, later} <= set(ids)

    def test_looks_for_all_constraints(self, served: Command, ended: int) -> None:
        def found(*labels: str) -> list[int]:
            options = [word for label in labels for word in ("--constraint", label)]
            return [job["id"] for job in served.json("list", "-a", "--json", *options)]

        assert ended in found("verbs=a")
        assert ended in found("verbs=a", "kind=b")
        assert found("verbs=a", "kind=c") == []

    def test_shows_only_what_waits_or_runs(self, served: Command) -> None:
        running = served.id("create", "--name", "runs", "alpine", "sh -c 'echo on; exec sleep 600'")
        until(lambda: served.json("list", "--json", "--name", "runs", "-r"))
        assert served.json("list", "--json", "--name", "runs", "-i") == []
        served("delete", running)
        served("wait", running, code=1)

        assert served.json("list", "--json", "--name", "runs") == []

    def test_all_are_all_whatever_the_number(self, served: Command, ended: int) -> None:
        assert ended in [job["id"] for job in served.json("list", "-a", "-n", "1", "--json")]

    @pytest.mark.parametrize("words", [["nothing"], ["jobs", "1", "2"], ["jobs", "0"], ["--constraint", "a"]])
    def test_refuses_what_it_does_not_understand(self, served: Command, words: list[str]) -> None:
        served("list", *words, code=2)


class TestDescribe:
    def test_tells_times_as_dates(self, served: Command, ended: int) -> None:
        found = served.json("describe", ended)

        assert found["events"]["createTime"].startswith("20")
        assert found["labels"] == {"verbs": "a", "kind": "b"}
        assert list(found)[:3] == ["id", "name", "status"]

    def test_gives_the_answer_of_the_service_as_json(
        self, served: Command, service: LocalService, ended: int
    ) -> None:
        assert served.json("describe", ended, "--json") == service.describe(ended)

    def test_gives_what_was_submitted_ready_to_be_run_again(self, served: Command, ended: int) -> None:
        served.write("again.json", served("describe", ended, "-i").stdout)

        again = served.id("run", "again.json")

        served("wait", again)
        assert served("stdout", again).stdout == "one two\n"

    def test_an_unknown_job_is_trouble_with_the_service(self, served: Command) -> None:
        assert "does not know job 999999" in served("describe", 999999, code=3).stderr
        assert "does not know workflow 999999" in served("describe", "workflow", 999999, code=3).stderr


class TestWait:
    def test_a_failed_job_is_told_by_the_exit_code(self, served: Command, ended: int) -> None:
        failing = served.id("create", "alpine", "sh -c 'exit 3'")

        first, second = served.json("wait", "--json", ended, failing, code=1)

        assert (first["succeeded"], first["exitCodes"]) == (True, [0])
        assert (second["status"], second["succeeded"], second["exitCodes"]) == ("completed", False, [3])

    def test_a_time_that_is_up_is_told_and_the_job_goes_on(
        self, served: Command, service: LocalService
    ) -> None:
        job = served.id("create", "alpine", "sleep 600")

        done = served("wait", "--timeout", "0.05", job, code=3)

        assert f"job {job} has not ended after" in done.stderr
        assert service.describe(job)["status"] in {"idle", "running"}
        served("delete", job)

    def test_an_id_is_needed(self, served: Command) -> None:
        served("wait", code=2)
        served("wait", "workflow", code=2)
        served("wait", "-1", code=2)


class TestWorkflows:
    @pytest.fixture
    def workflow(self, served: Command) -> int:
        one = served.id("run", served.write("pair.json", json.dumps(PAIR)))
        served("wait", "workflow", one)
        return one

    def test_output_is_found_by_names(self, served: Command, workflow: int) -> None:
        assert served("stdout", workflow, "first").stdout == "first\n"
        assert served("stderr", workflow, "first").stdout == "oops\n"
        assert served("logs", "--stderr", workflow, "first").stdout == "oops\n"
        assert served("stdout", workflow, "copies", 1).stdout == "copy y\n"
        assert "it has pair/copies/0" in served("stdout", workflow, "third", code=3).stderr

    def test_a_workflow_that_is_taken_for_a_job_is_told(self, served: Command, workflow: int) -> None:
        for verb in ("describe", "explain", "download", "wait"):
            assert f"say `workflow {workflow}`" in served(verb, workflow, code=3).stderr

    def test_outputs_of_one_name_are_kept_apart(self, served: Command, workflow: int) -> None:
        assert "use --dir" in served("download", "workflow", workflow, code=2).stderr
        assert not (served.directory / "out.txt").exists()

        paths = served("download", "workflow", workflow, "--dir").stdout.split()

        assert sorted((served.directory / path).read_text() for path in paths) == ["1\n", "2\n", "2\n"]

    def test_are_listed_described_and_cloned(self, served: Command, workflow: int) -> None:
        (row,) = served("list", "workflows", workflow).stdout.splitlines()[1:]
        assert row.split()[-3:] == ["3", "0", "3"]
        assert len(served.json("list", "jobs", workflow, "--json")) == 3
        assert len(served.json("list", "jobs", workflow, "--json", "--completed", "-n", "2")) == 2
        assert served.json("list", "jobs", workflow, "--json", "-r") == []
        assert served.json("describe", "workflow", workflow)["progress"]["done"] == 3

        twin = served.id("clone", "workflow", workflow)

        served("wait", "workflow", twin)


class TestDownload:
    @pytest.fixture
    def job(self, served: Command) -> int:
        command = "sh -c 'mkdir -p results; echo a > results/a.txt; echo b > b.txt'"
        one = served.id("create", "--output", "b.txt", "--outputdir", "results", "alpine", command)
        served("wait", one)
        return one

    def test_files_and_archives_of_directories_are_saved(self, served: Command, job: int) -> None:
        assert served("download", job).stdout.split() == ["b.txt", "results.tgz"]

        assert (served.directory / "b.txt").read_text() == "b\n"
        with tarfile.open(served.directory / "results.tgz") as archive:
            assert any(name.endswith("a.txt") for name in archive.getnames())

    def test_nothing_is_replaced_unless_it_is_meant(self, served: Command, job: int) -> None:
        served.write("b.txt", "mine\n")

        assert "--force" in served("download", job, code=2).stderr
        assert (served.directory / "b.txt").read_text() == "mine\n"
        assert not (served.directory / "results.tgz").exists()
        found = served.json("download", job, "--force", "--json")

        assert (served.directory / "b.txt").read_text() == "b\n"
        assert [each["path"] for each in found] == ["b.txt", "results.tgz"]

    def test_an_output_that_was_not_stored_is_told(self, served: Command) -> None:
        job = served.id("create", "--output", "missing.txt", "alpine", "true")
        served("wait", job, code=1)

        assert "missing.txt" in served("download", job, code=1).stderr

    def test_a_job_that_goes_on_has_nothing_to_download(self, served: Command) -> None:
        job = served.id("create", "--output", "out.txt", "alpine", "sleep 600")

        assert "has not ended yet" in served("download", job).stderr
        served("delete", job)


class TestActing:
    def test_deleting_what_has_ended_is_told(self, served: Command, ended: int) -> None:
        active = served.id("create", "alpine", "sleep 600")

        done = served("delete", active, ended, code=3)

        assert f"job {active} was deleted" in done.stderr
        assert f"job {ended} has ended before" in done.stderr

    def test_removing_takes_out_of_the_queue(self, served: Command, ended: int) -> None:
        kept = served.id("create", "--leave-in-queue", "alpine", "true")
        served("wait", kept)
        assert kept in [job["id"] for job in served.json("list", "--json")]

        served("remove", kept)

        assert kept not in [job["id"] for job in served.json("list", "--json")]
        served("remove", ended, code=3)

    def test_a_clone_is_a_job_of_its_own(self, served: Command, ended: int) -> None:
        twin = served.json("clone", "--json", ended)["id"]

        served("wait", twin)
        assert served("stdout", twin).stdout == "one two\n"

    def test_a_running_job_takes_commands_and_snapshots(self, served: Command, service: LocalService) -> None:
        job = served.id("create", "alpine", "sh -c 'echo here > a.txt; echo on; exec sleep 600'")
        until(lambda: service.describe(job)["status"] == "running" and service.output(job) == "on\n")

        assert served("exec", job, "cat", "a.txt").stdout == "here\n"
        assert served.json("exec", "--json", job, "cat a.txt") == {"id": job, "output": "here\n"}
        served("snapshot", job, "a.txt", "-o", "a.tgz")

        with tarfile.open(served.directory / "a.tgz") as archive:
            assert archive.getnames() == ["a.txt"]
        served("delete", job)


class TestStore:
    def test_objects(self, served: Command) -> None:
        served.write("mesh.txt", "1 2 3\n")

        stored = served.json("upload", "--filename", "mesh.txt", "--json")
        again = ("upload", "--filename", "mesh.txt", "--checksum")

        assert (stored["name"], stored["size"]) == ("mesh.txt", 6)
        served(*again, stored["sha256"].upper())
        assert stored["sha256"] in served(*again, "0" * 64, code=2).stderr
        assert "mesh.txt" in [entry["name"] for entry in served.json("ls", "--json")]
        assert "mesh.txt\n" in served("ls").stdout
        served("rm", "mesh.txt")
        assert "mesh.txt" not in served("ls").stdout
        served("upload", "--filename", "no-such-file", code=2)

    def test_keys(self, served: Command) -> None:
        served("kv", "set", "verbs/a", served.write("value.txt", "of a file\n"))
        served("kv", "set", "verbs/b", "plain")

        assert served("kv", "get", "verbs/a").stdout == "of a file\n\n"
        assert served.json("kv", "get", "--json", "verbs/b") == {"key": "verbs/b", "value": "plain"}
        assert served.json("kv", "list", "--json", "verbs") == ["/verbs/a", "/verbs/b"]
        served("kv", "delete", "verbs/a")
        assert served("kv", "list", "verbs").stdout == "/verbs/b\n"
        served("kv", "set", "verbs/a", "x" * 16_000, code=2)
        served("kv", "delete", "--prefix", "verbs")


class TestRun:
    def test_a_file_from_standard_input(self, served: Command) -> None:
        job = {**PAIR["jobs"][0], "name": "piped"}  # type: ignore[dict-item]

        one = int(served("run", "-", stdin=json.dumps(job)).stdout)

        served("wait", one)

    def test_a_broken_description_is_wrong_use(self, served: Command) -> None:
        name = served.write("job.yaml", "tasks: []\nresources: {cpus: 0, memory: 1}\n")

        assert "resources.cpus" in served("run", name, code=2).stderr
        found = served.json("validate", "--json", name, code=2)
        assert found["valid"] is False
        assert {each["field"] for each in found["violations"]} >= {"tasks", "resources.cpus"}
        assert "error: resources.cpus = 0" in served("validate", name, code=2).stdout

    def test_what_only_some_servers_choke_on_is_a_warning(self, command: Command) -> None:
        job = {**PAIR["jobs"][0], "resources": {"cpus": 1, "memory": 1.5, "disk": 1, "nodes": 1}}  # type: ignore[dict-item]

        done = command("validate", command.write("job.json", json.dumps(job)))

        assert done.stdout.startswith("warning: resources.memory = 1.5")

    def test_a_file_that_does_not_exist_is_wrong_use(self, command: Command) -> None:
        assert "no-such.yaml" in command("run", "no-such.yaml", code=2).stderr


class TestService:
    @pytest.mark.usefixtures("ended")
    def test_resources_and_usage(self, served: Command) -> None:
        assert served("resources").stdout.splitlines()[1].split()[:3] == ["local", "8", "64"]
        assert served.json("resources", "--json")["existing"][0]["site"] == "local"
        assert "JOBS" in served("usage", "2020-01-01", "2099-12-31").stdout
        assert served.json("usage", "2020-01-01", "2099-12-31", "--json")["users"]
        assert served.json("usage", "2020-01-01", "2099-12-31", "--json", "--group")["groups"]
        served("usage", "yesterday", "today", code=2)


def test_submit_ends_as_the_command_does(served: Command) -> None:
    assert served("submit", "--", "echo", "$HOME", "a  b").stdout == "$HOME a  b\n"
    served("submit", "sh", "-c", "exit 9", code=9)
    served("submit", "sh", "-c", "kill -9 $$", code=137)
    served("submit", "--cpus", "1000", "true", code=1)
    served("submit", code=2)


def test_submit_tells_the_end_with_the_output_as_json(served: Command) -> None:
    found = served.json("submit", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 9", code=9)

    assert found.pop("id") > 0
    assert found == {
        "status": "completed",
        "statusReason": "",
        "exitCodes": [9],
        "succeeded": False,
        "stdout": "out\n",
        "stderr": "err\n",
    }


def test_completion_is_there_for_each_shell(command: Command) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_PROMINENCE_COMPLETE" in command("completion", shell).stdout


def test_plugins_are_listed_with_their_hooks(command: Command) -> None:
    (own,) = [each for each in command.json("plugins", "--json")["loaded"] if each["name"] == "executors"]

    assert "prominence_executors" in own["hooks"]
    assert "executors" in command("plugins").stdout


class TestExplain:
    def test_a_failure_is_told_with_its_evidence_and_what_to_do(self, served: Command) -> None:
        job = served.id("create", "--name", "bad", "alpine", "sh -c 'echo oh no >&2; exit 3'")
        served("wait", job, code=1)

        told = served("explain", job).stdout
        found = served.json("explain", "--json", job)

        assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "WHEN", told) == (
            f"job {job} (bad) failed\n"
            "timeline, by the service's clock:\n"
            "  WHEN  created\n"
            "  WHEN  started\n"
            "  WHEN  ended: completed\n"
            f"cause: TaskExitError: job {job} (bad) ended with exit code 3; look at its standard error\n"
            "evidence:\n"
            "  exit codes of its tasks: 3\n"
            "  site: local\n"
            "  last lines of its standard error:\n"
            "    oh no\n"
            "next step: look at its standard error\n"
        )
        assert found["text"] == told
        assert (found["cause"], found["exitCodes"], found["stderr"]) == ("TaskExitError", [3], "oh no")

    def test_what_has_not_failed_is_told_too(self, served: Command, ended: int) -> None:
        told = served("explain", ended).stdout
        assert told.startswith(f"job {ended} (no name) succeeded\ntimeline")
        assert told.endswith(f"next step: see its output: prominence stdout {ended}\n")
        waiting = served.id("create", "alpine", "sleep 600")
        told = served("explain", waiting).stdout
        assert told.startswith(f"job {waiting} (no name) is ")
        assert f"next step: wait for it (prominence wait {waiting}), or" in told
        served("delete", waiting)

    def test_failed_jobs_of_a_workflow_are_told(self, served: Command) -> None:
        failing = {**PAIR, "jobs": [{**job, "outputFiles": ["no.txt"]} for job in PAIR["jobs"]]}
        workflow = served.id("run", served.write("pair.json", json.dumps(failing)))
        served("wait", "workflow", workflow, code=1)

        assert served("explain", "workflow", workflow).stdout.count("next step: check that output") == 3
        assert served.json("explain", "workflow", workflow, "--json")["failed"] == 3
