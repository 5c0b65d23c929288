"""Commands as jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from prominence import InputFile
from prominence.exceptions import InvalidDescription, TaskExitError

if TYPE_CHECKING:
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


def test_words_must_be_strings(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match=r"word 1 .* is 5"):
        executor.submit(["sleep", 5])  # type: ignore[list-item]


def test_a_command_takes_no_arguments(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match="no further arguments"):
        executor.submit("echo", "hello")  # type: ignore[call-overload]


def test_something_else_is_refused(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match="not 5"):
        executor.submit(5)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"labels": {"a-b": "c"}}, "labels"),
        ({"labels": {"prominenceSubmission": "c"}}, "labels"),
        ({"runtime": "docker"}, "tasks"),
        ({"output_files": "x"}, "output_files"),
        ({"output_files": [5]}, "outputFiles"),
        ({"name": "a;b"}, "name"),
        ({"check": "no"}, "check"),
        ({"env": None}, "env"),
        ({"resources": {"cpus": 2}}, "resources"),
    ],
)
def test_options_are_checked_when_they_are_given(
    executor: ProminenceExecutor, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidDescription) as caught:
        executor.with_options(**options)

    assert caught.value.field.startswith(field)


def test_an_unknown_option_is_named_with_those_there_are(executor: ProminenceExecutor) -> None:
    with pytest.raises(TypeError, match=r"unknown options gpus; there are .*resources"):
        executor.with_options(gpus=1)
