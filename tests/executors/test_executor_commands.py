"""Commands as jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.until import until

from prominence import InputFile, Job, Session, Task
from prominence.exceptions import InvalidDescription, ProminenceError, TaskExitError

if TYPE_CHECKING:
    from pathlib import Path

    from support.service import LocalService

    from prominence_executors import ProminenceExecutor


def test_a_command_line_is_split_but_not_run_by_a_shell(executor: ProminenceExecutor) -> None:
    done = executor.submit("echo 'a  b' | cat").result()

    assert done.stdout == "a  b | cat\n"
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.job.status == "completed"


@pytest.mark.parametrize(
    "words", [["a b", "c'd", 'e"f', "", "$HOME", "$$", "$PROMINENCE_JOB_ID", "${x}", "é", "\\n", "*"]]
)
def test_a_list_of_words_arrives_as_it_is(executor: ProminenceExecutor, words: list[str]) -> None:
    done = executor.submit(["printf", "%s|", *words]).result()

    assert done.stdout == "".join(f"{word}|" for word in words)


def test_an_exit_code_raises_with_the_last_words(executor: ProminenceExecutor) -> None:
    with pytest.raises(TaskExitError, match="exit code 3") as caught:
        executor.submit("sh -c 'echo begin; echo the reason >&2; exit 3'").result()

    assert caught.value.exit_codes == (3,)
    assert caught.value.stderr == "the reason"
    assert "the reason" in str(caught.value)


def test_an_exit_code_is_an_answer_with_check_false(executor: ProminenceExecutor) -> None:
    done = executor.with_options(check=False).submit("sh -c 'echo partly; exit 3'").result()

    assert (done.returncode, done.stdout) == (3, "partly\n")


def test_a_command_that_does_not_exist_is_told(executor: ProminenceExecutor) -> None:
    with pytest.raises(TaskExitError, match="no-such-command: command not found"):
        executor.submit("no-such-command --now").result()


def test_a_word_that_no_program_can_get_is_told_in_brief(executor: ProminenceExecutor) -> None:
    with pytest.raises(TaskExitError, match="Argument list too long") as caught:
        executor.submit(["true", 200_000 * "y"]).result()

    assert "job" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_command_that_is_far_too_long_is_refused(executor: ProminenceExecutor) -> None:
    with pytest.raises(InvalidDescription, match="which may have 1048576"):
        executor.submit(2_000_000 * "x").result()  # which shlex would need minutes for


def test_a_command_with_an_open_quote_is_refused(executor: ProminenceExecutor) -> None:
    with pytest.raises(ValueError, match="a quote is open"):
        executor.submit("echo 'a b")


def test_inputs_environment_and_outputs(executor: ProminenceExecutor) -> None:
    special = executor.with_options(
        input_files=[InputFile("in.txt", "3\n1\n2\n")],
        output_files=["out.txt"],
        env={"WAY": "-r"},
        labels={"kind": "sorting"},
        name="sorted",
    )
    job = special.submit("sh -c 'sort $WAY in.txt > out.txt'").result().job

    assert job.get_output_file("out.txt") == "3\n2\n1\n"
    assert job.name == "sorted"
    assert job.labels == {"kind": "sorting"}


@pytest.mark.parametrize("command", ["", "  ", []])
def test_an_empty_command_is_refused(executor: ProminenceExecutor, command: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        executor.submit(command)


def test_words_may_be_paths(executor: ProminenceExecutor, tmp_path: Path) -> None:
    (tmp_path / "two words").write_text("found\n")

    assert executor.submit(["cat", tmp_path / "two words"]).result().stdout == "found\n"


def test_words_must_be_strings(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match=r"command\[1\] is 5"):
        executor.submit(["sleep", 5])  # type: ignore[list-item]


def test_a_command_takes_no_arguments(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match="only functions take further arguments"):
        executor.submit("echo", "hello")  # type: ignore[call-overload]


@pytest.mark.parametrize("what", [5, b"ls"])
def test_something_else_is_refused(executor: ProminenceExecutor, what: Any) -> None:
    with pytest.raises(TypeError, match=f"not {what!r}"):
        executor.submit(what)


def test_a_task_has_an_environment_of_its_own(executor: ProminenceExecutor) -> None:
    special = executor.with_options(env={"WORD": "not this"}, labels={"kind": "task"})
    task = Task(image="none", command="printenv WORD", env={"WORD": "this"})

    done = special.submit(task).result()

    assert (done.stdout, done.command) == ("this\n", "printenv WORD")
    assert (done.job.name, done.job.labels) == ("printenv", {"kind": "task"})
    assert executor.submit(task).result().stdout == "this\n"  # it is the caller's, and unchanged


def test_a_job_is_run_as_it_is_described(executor: ProminenceExecutor, session: Session) -> None:
    tasks = [Task(image="none", command=command) for command in ("echo one", "echo two")]
    job = Job(name="both", tasks=tasks, labels={"of": "mine"})

    future = executor.with_options(labels={"of": "others"}, name="other").submit(job)

    done = future.result()
    assert future.job is done.job is job
    assert (done.stdout, done.command) == ("one\ntwo\n", "echo one; echo two")
    assert (job.name, job.labels, job.succeeded) == ("both", {"of": "mine"}, True)
    assert session.client.describe_job(job.id).entries[0]["name"] == "both"


def test_a_job_fails_with_its_first_failing_task(executor: ProminenceExecutor) -> None:
    tasks = [Task(image="none", command=command) for command in ("true", "sh -c 'exit 4'", "true")]

    with pytest.raises(TaskExitError, match="exit code 4") as caught:
        executor.submit(Job(name="three", tasks=tasks)).result()
    assert caught.value.exit_codes == (0, 4)


def test_a_job_is_submitted_once(executor: ProminenceExecutor) -> None:
    job = Job(name="once", tasks=[Task(image="none", command="true")])
    executor.submit(job).result()

    with pytest.raises(ProminenceError, match=f"job {job.id} is submitted already"):
        executor.submit(job)


def test_a_job_of_another_session_is_refused(executor: ProminenceExecutor, service: LocalService) -> None:
    with Session(service.settings()) as other:
        job = Job(session=other, name="other", tasks=[Task(image="none", command="true")])

        with pytest.raises(ProminenceError, match="belongs to another session"):
            executor.submit(job)


@pytest.mark.parametrize(
    ("what", "field"),
    [(Task(image="none", command=5), "tasks[0].cmd"), (Job(name="empty"), "tasks")],  # type: ignore[arg-type]
)
def test_tasks_and_jobs_are_checked_when_they_are_submitted(
    executor: ProminenceExecutor, what: Task | Job, field: str
) -> None:
    with pytest.raises(InvalidDescription) as caught:
        executor.submit(what)

    assert caught.value.field == field


def test_output_can_be_forwarded(executor: ProminenceExecutor, capsys: pytest.CaptureFixture[str]) -> None:
    forwarding = executor.with_options(forward_output=True, check=False)
    forwarding.submit("sh -c 'echo out; echo err >&2; exit 3'").result()
    executor.submit("echo quiet").result()

    assert capsys.readouterr() == ("out\n", "err\n")


def test_logs_can_be_followed(executor: ProminenceExecutor) -> None:
    future = executor.submit("sh -c 'echo one; echo two'")
    until(lambda: future.job.id)

    assert "".join(future.logs(follow=True)) == "one\ntwo\n"
    assert "".join(executor.submit("sh -c 'echo three >&2'").logs(stream="stderr")) in {"", "three\n"}
