"""A job's folder with files that are damaged, missing, or somebody else's: what is said, and how the job goes on."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from log_runner import campaign_jobs
from log_runner.running import Job

import hornbeam as beam
from hornbeam.cli.main import main
from hornbeam.error import DataError, OptionError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder, jobs_in
from hornbeam.storage.checkpoint import StoreReader
from hornbeam.storage.errors import StorageError


@pytest.fixture
def cancelled(tmp_path: Path) -> Job:
    """A job with checkpoints that does not run."""
    job = Job("stateful", tmp_path, size=100)
    result = job.start("--num_workers=1")
    job.await_progress(60)
    result.cancel()
    return job


NO_RECORDS = [
    "",
    "[]",
    "{}",
    '{"form',
    '{"format": 1, "job_name": "stateful", "unknown": 3}',
    '{"format": 99}',
]


def test_a_damaged_record_is_refused_and_its_loss_is_none_of_state(
    cancelled: Job, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    record = os.path.join(cancelled.folder.path, "job.json")
    for text in NO_RECORDS:
        Path(record).write_text(text)
        assert main(["job", "status", cancelled.path, "stateful"]) == 1
        assert "job.json" in capsys.readouterr().err
        assert main(["job", "list", cancelled.path]) == 0  # the others are shown all the same
        assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["stateful", "DAMAGED"]
        with pytest.raises(DataError, match=r"job.json .*"):
            cancelled.start("--num_workers=1")
    assert main(["job", "list", cancelled.path, "--json"]) == 0
    assert "job.json" in json.loads(capsys.readouterr().out)[0]["error"]
    os.unlink(record)
    cancelled.finish("--num_workers=1")
    assert "has lost its job.json; it goes on from its newest checkpoint" in caplog.text


def test_a_graph_that_cannot_be_read_is_not_needed_for_the_same_pipeline(
    cancelled: Job, caplog: pytest.LogCaptureFixture
) -> None:
    for graph in Path(cancelled.folder.path, "graphs").iterdir():
        graph.write_text(graph.read_text()[:200])
    options = ["--runner=LogRunner", "--job_name=stateful", f"--log_dir={cancelled.path}"]
    p = beam.Pipeline(options=PipelineOptions(options))
    p | beam.Create([1])
    with pytest.raises(
        DataError, match=r"the pipeline that its .* is of cannot be read .* is another one than this"
    ):
        p.run()
    cancelled.finish("--num_workers=2")
    assert "This one is the same, and takes its place" in caplog.text
    assert cancelled.folder.graph()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"steps": 3}', '{"job_name": "v", "state": "RUNNING", "zzz": 1}']
)
def test_a_damaged_status_is_none(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = JobFolder(tmp_path, "j")
    folder.create()
    Path(folder.path, "status.json").write_text(text)
    assert folder.status() is None


def test_a_job_is_deleted_whatever_is_damaged(cancelled: Job, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("job.json", "graph.json", "status.json"):
        Path(cancelled.folder.path, name).write_text("{")
    assert main(["job", "delete", cancelled.path, "stateful", "--yes"]) == 0
    assert "what its sinks have staged stays, as its graph cannot be read" in capsys.readouterr().err
    assert not os.path.exists(cancelled.folder.path)


def test_what_is_left_of_a_deletion_is_no_job(cancelled: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before its checkpoints are gone; a job of that name begins anew then."""
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        cancelled.folder.delete()
    (left,) = Path(cancelled.path, "jobs").iterdir()
    assert StoreReader(left / "checkpoints").checkpoints()
    assert not cancelled.folder.exists() and not list(jobs_in(cancelled.path))
    for part in ("seen", "result"):
        for file in Path(cancelled.path, part).iterdir():
            file.unlink()
    cancelled.finish("--num_workers=1")
    assert cancelled.folder.record().starts == 1
    cancelled.folder.delete()
    assert not list(left.parent.iterdir())


def test_folders_that_are_missing_are_no_failure_of_looking(
    cancelled: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("commands", "answers", "exchange", "checkpoints"):
        os.rename(os.path.join(cancelled.folder.path, name), os.path.join(cancelled.path, name))
    assert main(["job", "status", cancelled.path, "stateful"]) == 0
    assert main(["job", "list", cancelled.path]) == 0
    assert "CANCELLED" in capsys.readouterr().out
    assert main(["job", "replay", cancelled.path, "stateful"]) == 1
    assert "not a checkpoint store" in capsys.readouterr().err
    with pytest.raises(DataError, match="has lost its checkpoints: there are none in"):
        cancelled.start()  # seen: it began anew, and gave out all once more


def test_a_job_that_may_only_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another user: whether it runs is found without writing."""
    folder = JobFolder(tmp_path, "j")
    folder.create()

    def refuse(*_: Any, **__: Any) -> Any:
        raise StorageError(folder.path, "lock", "Permission denied (EACCES)")

    monkeypatch.setattr("hornbeam.storage.files.OS_FILES.lock", refuse, raising=True)
    with open(os.path.join(folder.path, "lock"), "w") as file:
        assert not folder.is_running()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert folder.is_running()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--num_workers=-1"], "--num_workers=-1: a number of processes"),
        (["--metrics_port=99999"], "--metrics_port=99999 cannot be had"),
        (["--log_dir={path}/file"], r"--log_dir=.*/file: jobs cannot be kept there: .*Not a directory"),
        (["--job_name=taken"], r"--log_dir=.*: jobs cannot be kept there: .*File exists: .*taken/commands"),
    ],
)
def test_options_that_cannot_be(flags: list[str], why: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "jobs/taken").mkdir(parents=True)
    (tmp_path / "jobs/taken/commands").touch()
    job = Job("stateful", tmp_path)
    with pytest.raises(OptionError, match=why):
        job.start(*(flag.format(path=tmp_path) for flag in flags))
    assert not job.folder.exists()


def test_no_workers_is_one_for_each_core(tmp_path: Path) -> None:
    job = Job("stateful", tmp_path, size=20)
    job.finish("--num_workers=0")
    assert job.folder.record().num_workers == len(os.sched_getaffinity(0))
    campaign_jobs.check(job.name, job.path, job.size)


def test_state_that_cannot_be_removed_is_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was told to begin anew did so from what was left."""
    folder = JobFolder(tmp_path, "j")
    folder.create()

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(PermissionError):
        folder.remove_state()
