"""How the jobs of an executor are made."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from prominence import Artifact, InputFile, Job, JobPolicies, Resources, Session, Task
from prominence.description.checks import HIDDEN, shown
from prominence.description.rules_size import check_size
from prominence.exceptions import InvalidDescription
from prominence_executors.calls import packing
from prominence_executors.calls.modules import Ship, check_ship
from prominence_executors.retries import Retries
from prominence_executors.runner.fence import VARIABLE

_KINDS: Final[tuple[tuple[tuple[str, ...], type, str], ...]] = (
    (("env", "labels"), Mapping, "an object of names and values"),
    (("artifacts", "input_files", "output_files", "output_directories", "initargs"), Sequence, "a list"),
    (("resources",), Resources, "a Resources object"),
    (("policies",), JobPolicies, "a JobPolicies object"),
    (("retries",), Retries, "a Retries object"),
    (("check", "forward_output", "kill_when_cancelled"), bool, "True or False"),
)

_ENTRIES: Final[tuple[tuple[str, type, str], ...]] = (
    ("input_files", InputFile, "an InputFile, such as InputFile(path)"),
    ("artifacts", Artifact, "an Artifact, such as Artifact(name)"),
)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What every job of an executor is given.

    ``image`` defaults to ``python:X.Y-slim`` of the caller's own Python. ``check`` tells whether a command
    that ends with another exit code than 0 raises. ``ship`` says which modules of the caller's own travel
    with function calls: ``"auto"`` those that a call reaches, a list of modules or their names exactly
    these, None none; they are sent as they were when first needed, or last reloaded. With ``forward_output``
    a job's output is written to the caller's own streams when it has ended, before its future has its
    outcome. With ``kill_when_cancelled`` ``future.cancel()``, and cancelling what awaits the future, also
    ends a job that was sent already. ``retries`` says how often what fails is submitted again. With ``rerun``
    set to ``"never"`` a function call that was begun is not begun again when the service starts its job once
    more, but raises InterruptedAfterStart. ``initializer`` is called with ``initargs`` in each job before its
    first function call; what it raises, the calls raise.
    """

    image: str = "python:{}.{}-slim".format(*sys.version_info)
    runtime: str = "singularity"
    resources: Resources = field(default_factory=Resources)
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    policies: JobPolicies = field(default_factory=JobPolicies)
    artifacts: Sequence[Artifact] = ()
    input_files: Sequence[InputFile] = ()
    output_files: Sequence[str] = ()
    output_directories: Sequence[str] = ()
    workdir: str | None = None
    name: str | None = None
    check: bool = True
    ship: Ship = "auto"
    forward_output: bool = False
    kill_when_cancelled: bool = False
    retries: Retries = field(default_factory=Retries)
    rerun: Literal["allowed", "never"] = "allowed"
    initializer: Callable[..., object] | None = None
    initargs: Sequence[Any] = ()

    @property
    def may_rerun(self) -> bool:
        return self.rerun != "never"

    @classmethod
    def names(cls) -> frozenset[str]:
        return frozenset(each.name for each in fields(cls))

    def changed(self, changes: Mapping[str, Any]) -> JobOptions:
        """Options with some replaced.

        Raises TypeError for an unknown name, and InvalidDescription for a value with which no job could be
        submitted.
        """
        if unknown := sorted(set(changes) - self.names()):
            known = ", ".join(sorted(self.names()))
            raise TypeError(f"unknown options {', '.join(unknown)}; there are {known}")
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        options = JobOptions(**{**values, **changes})
        for names, kind, rule in _KINDS:
            for name in names:
                value = getattr(options, name)
                if not isinstance(value, kind) or (kind is Sequence and isinstance(value, str)):
                    raise InvalidDescription(name, value, rule)
        options._check_entries()
        if options.initializer is not None and not callable(options.initializer):
            raise InvalidDescription("initializer", options.initializer, "something to call, or None")
        check_ship(options.ship)
        options.retries.check()
        if options.rerun not in {"allowed", "never"}:
            raise InvalidDescription("rerun", options.rerun, "'allowed' or 'never'")
        job = options.job("true", session=None, default_name="check")
        job.validate()
        options._check_names()
        description = job.to_dict()
        check_size(description, len(json.dumps(description)))
        return options

    def _check_entries(self) -> None:
        for name, kind, rule in _ENTRIES:
            for number, entry in enumerate(getattr(self, name)):
                if not isinstance(entry, kind):
                    raise InvalidDescription(f"{name}[{number}]", shown(entry), rule)

    def _check_names(self) -> None:
        for field_name, files in (
            ("input_files", [each.filename for each in self.input_files]),
            ("output_files", self.output_files),
        ):
            for number, file in enumerate(files):
                if file in packing.FILES:
                    raise InvalidDescription(
                        f"{field_name}[{number}]", file, "a call's own file has that name"
                    )
        if VARIABLE in self.env:
            raise InvalidDescription(f"env.{VARIABLE}", self.env[VARIABLE], "is set by the executor itself")
        if "PROMINENCE_TOKEN" in self.env:
            rule = "is set by the service; yours would be read by all who may see the job"
            raise InvalidDescription("env.PROMINENCE_TOKEN", HIDDEN, rule)

    def job(
        self,
        command: str,
        *,
        session: Session | None,
        default_name: str,
        env: Mapping[str, str] | None = None,
        artifacts: Sequence[Artifact] = (),
        input_files: Sequence[InputFile] = (),
        output_files: Sequence[str] = (),
    ) -> Job:
        """A new job that runs ``command``, with what the caller adds to these options."""
        task = Task(
            image=self.image,
            runtime=self.runtime,
            command=command,
            workdir=self.workdir,
            env={**self.env, **(env or {})},
        )
        job = self.job_of(task, session=session, default_name=default_name)
        job.artifacts += artifacts
        job.input_files += input_files
        job.output_files += output_files
        return job

    def job_of(self, task: Task, *, session: Session | None, default_name: str) -> Job:
        """A new job with this task; what options say of tasks is not looked at."""
        return Job(
            session=session,
            name=self.name or default_name,
            tasks=[task],
            resources=self.resources,
            labels=dict(self.labels),
            policies=self.policies,
            artifacts=list(self.artifacts),
            input_files=list(self.input_files),
            output_files=list(self.output_files),
            output_directories=list(self.output_directories),
        )
