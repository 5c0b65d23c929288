"""Function calls at a service that repeats jobs and submissions: one job makes each call, and that counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.repeated import Blocker, key_of, lose_supervisor, sent, twin_of
from support.until import until

from prominence import JobPolicies, Session
from prominence.exceptions import InterruptedAfterStart, InvalidDescription, JobDeleted, JobEvicted
from prominence_executors import ProminenceExecutor
from prominence_executors.runner.fence import VARIABLE

if TYPE_CHECKING:
    from support.runs import Runs
    from support.service import LocalService


class TestGuarantee:
    def test_the_service_of_this_machine_needs_no_fence(
        self, executor: ProminenceExecutor, service: LocalService
    ) -> None:
        assert executor.guarantee == "idempotent"
        future = executor.submit(len, "four")
        assert future.result() == 4
        assert VARIABLE not in service.describe(sent(future))["tasks"][0]["env"]

    def test_other_services_do(self, fenced: ProminenceExecutor, rough: LocalService) -> None:
        assert fenced.guarantee == "fence"
        future = fenced.submit(len, "four")
        assert future.result() == 4
        claimed = rough.get(f"/kv/{key_of(rough, sent(future))}").text
        assert claimed.startswith(f"{future.job.id}:")

    def test_calls_that_must_not_run_again_do_anywhere(self, executor: ProminenceExecutor) -> None:
        never = executor.with_options(rerun="never")
        assert never.guarantee == "fence"
        assert never.submit(len, "four").result() == 4

    def test_settling_does_without(self, rough_session: Session, rough: LocalService) -> None:
        with ProminenceExecutor(session=rough_session, guarantee="settle") as executor:
            assert executor.guarantee == "settle"
            future = executor.submit(len, "four")
            assert future.result() == 4
        assert VARIABLE not in rough.describe(sent(future))["tasks"][0].get("env", {})

    def test_commands_have_none(self, fenced: ProminenceExecutor, rough: LocalService) -> None:
        future = fenced.submit("true")
        future.result()
        assert VARIABLE not in rough.describe(sent(future))["tasks"][0].get("env", {})

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"guarantee": "hope"}, "guarantee"),
            ({"guarantee": "settle", "rerun": "never"}, "rerun"),
            ({"rerun": "sometimes"}, "rerun"),
        ],
    )
    def test_what_there_is_not(self, options: dict[str, Any], field: str, session: Session) -> None:
        with pytest.raises(InvalidDescription, match=f"^{field} = "):
            ProminenceExecutor(session=session, **options)

    def test_settling_cannot_be_asked_never_to_run_again(self, session: Session) -> None:
        with (
            ProminenceExecutor(session=session, guarantee="settle") as executor,
            pytest.raises(InvalidDescription, match="only with guarantee='fence'"),
        ):
            executor.with_options(rerun="never")


class TestTwins:
    def test_one_of_many_makes_the_call(
        self, fenced: ProminenceExecutor, rough: LocalService, blocker: Blocker, runs: Runs
    ) -> None:
        future = fenced.submit(runs)
        job_id = sent(future)
        twins = [twin_of(rough, job_id) for _ in range(3)]
        blocker.end()

        assert future.result() == str(job_id)

        ends = [rough.ended(twin) for twin in twins]
        assert [end["execution"]["tasks"][0]["exitCode"] for end in ends] == [92, 92, 92]
        assert runs.jobs() == [job_id]

    def test_the_one_that_was_first_is_followed(
        self, fenced: ProminenceExecutor, rough: LocalService, blocker: Blocker, runs: Runs
    ) -> None:
        future = fenced.submit(runs)
        job_id = sent(future)
        first = twin_of(rough, job_id, priority=10)
        blocker.end()

        assert future.result() == str(first)

        assert future.job.id == first
        assert runs.jobs() == [first]
        assert rough.ended(job_id)["execution"]["tasks"][0]["exitCode"] == 92

    def test_a_twin_of_a_deleted_job_makes_no_call(
        self, fenced: ProminenceExecutor, rough: LocalService, blocker: Blocker, runs: Runs
    ) -> None:
        future = fenced.submit(runs)
        job_id = sent(future)
        twin = twin_of(rough, job_id)
        assert future.kill()
        with pytest.raises(JobDeleted):
            future.result()
        blocker.end()

        assert rough.ended(twin)["execution"]["tasks"][0]["exitCode"] == 92
        assert runs.jobs() == []

    def test_a_twin_that_owns_a_killed_call_is_ended(
        self, fenced: ProminenceExecutor, rough: LocalService, blocker: Blocker, runs: Runs
    ) -> None:
        future = fenced.submit(runs.first_waits)
        job_id = sent(future)
        twin = twin_of(rough, job_id, priority=10)
        blocker.end()
        until(runs.jobs)
        assert future.kill()

        with pytest.raises(JobDeleted):
            future.result()
        assert rough.describe(twin)["status"] == "deleted"
        assert runs.jobs() == [twin]


class TestRunsOfOneJob:
    def test_an_evicted_job_makes_its_call_again(
        self, fenced: ProminenceExecutor, rough: LocalService, runs: Runs
    ) -> None:
        future = fenced.with_options(policies=JobPolicies(maximum_retries=1)).submit(runs.first_waits)
        job_id = sent(future)
        until(runs.jobs)
        first = rough.get(f"/kv/{key_of(rough, job_id)}").text
        lose_supervisor(rough, job_id)

        assert future.result() == str(job_id)

        assert runs.jobs() == [job_id, job_id]
        owner, nonce, _ = rough.get(f"/kv/{key_of(rough, job_id)}").text.split(":")
        assert owner == str(job_id)
        assert first == f"{owner}:{first.split(':')[1]}" != f"{owner}:{nonce}"

    def test_but_not_a_call_that_must_not_run_again(
        self, fenced: ProminenceExecutor, rough: LocalService, runs: Runs
    ) -> None:
        future = fenced.with_options(policies=JobPolicies(maximum_retries=1), rerun="never").submit(
            runs.first_waits
        )
        job_id = sent(future)
        until(runs.jobs)
        lose_supervisor(rough, job_id)

        with pytest.raises(InterruptedAfterStart, match=rf"job {job_id} .* not to be made twice"):
            future.result()
        assert runs.jobs() == [job_id]

    def test_an_evicted_job_without_retries_is_told(
        self, fenced: ProminenceExecutor, rough: LocalService, runs: Runs
    ) -> None:
        future = fenced.submit(runs.first_waits)
        until(runs.jobs)
        lose_supervisor(rough, sent(future))

        with pytest.raises(JobEvicted):
            future.result()
        assert rough.get(f"/kv/{key_of(rough, sent(future))}").text.endswith(":.")

    @pytest.mark.parametrize("policy", ["maximum_retries", "maximum_task_retries"])
    def test_the_retries_of_the_service_make_a_failed_call_again(
        self, policy: str, fenced: ProminenceExecutor, runs: Runs
    ) -> None:
        again = fenced.with_options(policies=JobPolicies(**{policy: 1}))
        future = again.submit(runs.first_fails)

        assert future.result() == str(future.job.id)
        assert len(runs.jobs()) == 2

    def test_unless_it_must_not_run_again(self, fenced: ProminenceExecutor, runs: Runs) -> None:
        never = fenced.with_options(policies=JobPolicies(maximum_retries=1), rerun="never")

        with pytest.raises(LookupError, match="the first run"):
            never.submit(runs.first_fails).result()
        assert len(runs.jobs()) == 1

    def test_an_outcome_too_large_for_the_store(
        self, fenced: ProminenceExecutor, rough: LocalService
    ) -> None:
        future = fenced.submit(bytes, 20_000)

        assert future.result() == bytes(20_000)
        assert rough.get(f"/kv/{key_of(rough, sent(future))}").text.endswith(":.")

    def test_a_call_with_outputs_of_its_own_is_committed_by_the_caller(
        self, fenced: ProminenceExecutor, rough: LocalService
    ) -> None:
        def write() -> int:
            return Path("numbers.txt").write_text("1 2 3")

        future = fenced.with_options(output_files=["numbers.txt"]).submit(write)

        assert future.result() == 5
        assert rough.get(f"/kv/{key_of(rough, sent(future))}").text.endswith(":.")

    def test_user_code_does_not_see_the_key(self, fenced: ProminenceExecutor) -> None:
        assert fenced.submit(lambda: [name for name in os.environ if "FENCE" in name]).result() == []


def test_a_deleted_session_is_told(
    fenced: ProminenceExecutor, rough: LocalService, blocker: Blocker, runs: Runs
) -> None:
    future = fenced.submit(runs)
    rough.request("DELETE", f"/kv/{key_of(rough, sent(future))}")
    blocker.end()

    with pytest.raises(JobDeleted, match="its claim was deleted"):
        future.result()
    assert runs.jobs() == []
