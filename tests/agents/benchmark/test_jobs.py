"""Jobs: commands run side by side, finished ones skipped, failures told in a line each."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from agents.benchmark.jobs import Job, JobError, run_jobs

SCRIPT = """
import os, pathlib, sys, time
result, action, *needs = sys.argv[1:]
print("working on", result)
if action == "fail":
    sys.exit("error: no luck")
if action == "die":
    os.kill(os.getpid(), 9)
if action == "sleep":
    time.sleep(0.3)
missing = [path for path in needs if not pathlib.Path(path).is_file()]
if missing:
    sys.exit(f"error: too early, no {missing}")
with open(result, "a") as file:
    file.write("done")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the module `toy_job` where the jobs' interpreters find it."""
    (tmp_path / "toy_job.py").write_text(SCRIPT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def job(path: Path, action: str = "write", after: Job | None = None) -> Job:
    needs = [str(after.result)] if after else []
    return Job("toy_job", (str(path), action, *needs), path, after)


def run(jobs: list[Job], num_jobs: int = 2) -> None:
    run_jobs(jobs, num_jobs=num_jobs, title="test")


def test_jobs_write_their_results_and_logs(tmp_path: Path) -> None:
    paths = [tmp_path / name / "result" for name in "abc"]

    run([job(path) for path in paths])

    assert [path.read_text() for path in paths] == ["done"] * 3
    assert f"working on {paths[0]}" in (tmp_path / "a" / "log.txt").read_text()


def test_finished_jobs_are_skipped(tmp_path: Path) -> None:
    done = job(tmp_path / "a" / "result")
    run([done])

    run([done, job(tmp_path / "b" / "result", after=done)])

    assert done.result.read_text() == "done"
    assert (tmp_path / "b" / "result").is_file()


@pytest.mark.parametrize("num_jobs", [1, 3])
def test_job_waits_for_the_one_it_needs(tmp_path: Path, num_jobs: int) -> None:
    first = job(tmp_path / "a" / "result", "sleep")
    second = job(tmp_path / "b" / "result", after=first)

    run([first, second, job(tmp_path / "c" / "result")], num_jobs)

    assert second.result.is_file()


def test_failure_has_the_last_line_and_the_log(tmp_path: Path) -> None:
    failing = job(tmp_path / "a" / "result", "fail")

    with pytest.raises(
        JobError, match=r"toy_job failed: error: no luck \(whole log: .*a/log\.txt\)"
    ):
        run([failing])

    assert not failing.result.exists()


def test_failure_without_output_is_told(tmp_path: Path) -> None:
    (tmp_path / "toy_job.py").write_text("import sys; sys.exit(3)")

    with pytest.raises(JobError, match="toy_job failed: no output"):
        run([job(tmp_path / "a" / "result")])


def test_job_that_needs_a_failed_one_does_not_run(tmp_path: Path) -> None:
    failing = job(tmp_path / "a" / "result", "fail")
    second = job(tmp_path / "b" / "result", after=failing)

    with pytest.raises(JobError, match="no luck"):
        run([failing, second])

    assert not (tmp_path / "b").exists()


def test_failures_leave_the_other_jobs_alone_and_are_named_each(tmp_path: Path) -> None:
    paths = [tmp_path / name / "result" for name in "abcdef"]
    failing = [job(path, "fail") for path in paths[:2]]
    others = [job(path) for path in paths[2:]]

    with pytest.raises(JobError) as caught:
        run([*failing, *others], num_jobs=1)

    lines = str(caught.value).splitlines()
    assert sorted(line.split("log: ")[1].split(")")[0] for line in lines) == [
        str(path.parent / "log.txt") for path in paths[:2]
    ]
    assert all("no luck" in line for line in lines)
    assert "run the same command again" in lines[-1]
    assert all(other.result.is_file() for other in others)


def test_next_call_goes_on_after_a_failure(tmp_path: Path) -> None:
    second = job(tmp_path / "b" / "result", after=job(tmp_path / "a" / "result"))
    with pytest.raises(JobError):
        run([job(tmp_path / "a" / "result", "fail")])

    run([job(tmp_path / "a" / "result"), second])

    assert second.result.is_file()


def test_killed_job_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(
        JobError, match=r"killed by signal 9 \(SIGKILL\); is memory short\? \(whole"
    ):
        run([job(tmp_path / "a" / "result", "die")])


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: ray)"
)
def test_ray_runs_jobs_alike(tmp_path: Path) -> None:
    first = job(tmp_path / "a" / "result")
    second = job(tmp_path / "b" / "result", after=first)

    with pytest.raises(JobError, match="toy_job failed: error: no luck"):
        run_jobs(
            [first, second, job(tmp_path / "c" / "result", "fail")],
            num_jobs=2,
            title="test",
            engine="ray",
        )

    assert second.result.is_file()
    assert f"working on {first.result}" in first.log.read_text()


def test_jobs_use_this_interpreter(tmp_path: Path) -> None:
    (tmp_path / "toy_job.py").write_text(
        "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.executable)"
    )
    path = tmp_path / "a" / "result"

    run([job(path)])

    assert path.read_text() == sys.executable
