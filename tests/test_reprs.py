"""What jobs, workflows and maps say of themselves at a prompt and in a notebook, without asking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prominence import Job, Task, Workflow
from prominence_executors import ProminenceExecutor

if TYPE_CHECKING:
    from prominence import Session

TRUE = Task(image="i", command="true")


def test_a_job_shows_its_description_and_later_who_it_is(session: Session) -> None:
    job = Job(name="j", tasks=[Task(image="i", command="sh -c 'exit 3'")], session=session)
    assert "command=\"sh -c 'exit 3'\"" in repr(job)
    assert "not submitted" in job._repr_html_()

    job.create()
    assert repr(job) == f"Job(id={job.id}, name='j')"
    job.wait()
    assert repr(job) == f"Job(id={job.id}, name='j', status='completed')"
    html = job._repr_html_()
    assert f"<td>{job.id}</td>" in html
    assert "exit codes</th><td>3</td>" in html
    assert "endTime</th><td>20" in html


def test_a_job_that_is_attached_shows_only_what_is_known() -> None:
    assert repr(Job(id=17)) == "Job(id=17)"
    assert repr(Workflow(id=9)) == "Workflow(id=9)"


def test_a_workflow_shows_the_numbers_of_its_jobs(session: Session) -> None:
    workflow = Workflow(name="<w>", jobs=[Job(name="a", tasks=[TRUE]), Job(name="b", tasks=[TRUE])])
    assert "&lt;w&gt;" in workflow._repr_html_()
    workflow = Workflow(name="w", jobs=workflow.jobs, session=session)
    workflow.create()
    workflow.wait()

    assert repr(workflow) == f"Workflow(id={workflow.id}, name='w', status='completed')"
    assert "done</th><td>2</td>" in workflow._repr_html_()


def test_a_map_says_how_much_of_it_was_taken(session: Session) -> None:
    with ProminenceExecutor(session=session) as executor:
        results = executor.map(abs, [-1, -2])
        assert repr(results) == "<Results of abs: 0 given>"
        next(results)
        assert repr(results) == "<Results of abs: 1 given>"
