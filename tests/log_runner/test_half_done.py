"""What was half done when a process ended: the next start, or the next attempt, does it once. Seen in the kill campaign."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from log_runner import campaign_answers, campaign_jobs, kill_points
from log_runner.running import DEADLINE_MS, hold, let_go

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.state_names import LOCAL_GROUP
from hornbeam.storage import files
from hornbeam.storage.checkpoint import StoreReader
from hornbeam.storage.errors import StorageError
from hornbeam.testing.test_stream import TestStream

SIZE = 60


def start(path: Path, *flags: str, out: str = "out", held: bool = True) -> Any:
    """The job of numbered values; it writes into a folder of `path`, and does not end while it is held."""
    (path / out).mkdir(exist_ok=True)
    if held:
        hold(path / out, SIZE - 1)
    else:
        let_go(path / out)
    options = ["--runner=LogRunner", "--job_name=j", f"--log_dir={path}", "--no_progress", "--num_workers=1"]
    pipeline = beam.Pipeline(options=PipelineOptions([*options, "--checkpoint_interval_ms=30", *flags]))
    campaign_jobs.build("stateful", pipeline, str(path / out), SIZE, 0.002)
    return pipeline.run()


def finish(path: Path, *flags: str, out: str = "out") -> None:
    assert start(path, *flags, out=out, held=False).wait_until_finish(DEADLINE_MS) == "DONE"
    campaign_answers.check("stateful", str(path / out), SIZE)


def fails_at(point: str, path: Path, *flags: str, out: str = "out") -> None:
    """A start whose coordinator gets no further than the point."""
    files.arm(f"{point}:1:eio")
    try:
        with pytest.raises(StorageError, match="fault point"):
            start(path, *flags, out=out).wait_until_finish(DEADLINE_MS)
    finally:
        files.arm(None)


def test_a_savepoint_is_gone_back_to_once(tmp_path: Path) -> None:
    """What was committed since the first start from it would be given out again."""
    result = start(tmp_path)
    folder = JobFolder(tmp_path, "j")
    folder.ask("stop", name="here")
    result.wait_until_finish(DEADLINE_MS)
    fails_at("coordinator.committed", tmp_path, "--restore_from=here", "--checkpoint_interval_ms=200")
    finish(tmp_path)


@pytest.mark.parametrize("point", ["job.fresh", "job.fresh.removed", "job.started"])
def test_a_fresh_start_that_was_cut_short_is_taken_up_again(point: str, tmp_path: Path) -> None:
    """Else the plain command would go on from half of the old state."""
    result = start(tmp_path)
    JobFolder(tmp_path, "j").ask("checkpoint")
    result.cancel()
    fails_at(point, tmp_path, "--fresh", out="anew")
    if point == "job.fresh":  # as if it had come to some of the files
        manifests = tmp_path / "jobs/j/checkpoints/manifests"
        os.unlink(max(manifests.iterdir()))
    finish(tmp_path, out="anew")


def test_a_copy_that_is_killed_costs_an_attempt_and_not_the_job(tmp_path: Path, monkeypatch: Any) -> None:
    """The kernel may choose the copy when memory is short."""
    monkeypatch.setenv("HORNBEAM_FORK_ENTRIES_MIN", "1")
    monkeypatch.setenv("HORNBEAM_WORKER_FAULTS", "0@1=copy.begin:1:kill;0@2=copy.written:1:kill")
    finish(tmp_path, "--failures_max=1")
    assert JobFolder(tmp_path, "j").record().attempts == 3


def test_staged_files_are_cleared_away_before_a_job_is_said_to_have_ended(tmp_path: Path) -> None:
    """The same command does nothing any more after that."""
    result = start(tmp_path)
    JobFolder(tmp_path, "j").ask("checkpoint")
    left = tmp_path / "out/result/staged-by-an-attempt-that-failed"
    left.touch()
    let_go(tmp_path / "out")
    files.arm("coordinator.ending:1:eio")
    try:
        with pytest.raises(StorageError, match="fault point"):
            result.wait_until_finish(DEADLINE_MS)
    finally:
        files.arm(None)
    assert not left.exists()


def test_the_last_checkpoint_holds_nothing_of_keys_and_can_be_begun_from(tmp_path: Path) -> None:
    """What went of keys is not told one by one at the end: the checkpoint is a full one, without them."""
    result = start(tmp_path, "--num_workers=2")
    JobFolder(tmp_path, "j").ask("checkpoint")
    let_go(tmp_path / "out")
    files.arm("coordinator.ending:1:eio")
    let_go(tmp_path / "out")
    try:
        with pytest.raises(StorageError, match="fault point"):
            result.wait_until_finish(DEADLINE_MS)
    finally:
        files.arm(None)
    groups = []
    for manifest in StoreReader(JobFolder(tmp_path, "j").checkpoints).checkpoints():
        with StoreReader(JobFolder(tmp_path, "j").checkpoints).snapshot(manifest.checkpoint) as snapshot:
            groups.append({key.key_group for key, _ in snapshot.scan()})
    assert groups[-1] == {LOCAL_GROUP}
    assert manifest.base is None
    assert len(groups[0]) > 1
    finish(tmp_path, "--num_workers=2")


def test_a_job_that_was_drained_half_way_is_drained_on(tmp_path: Path) -> None:
    """Checkpoints hold sources that have ended by the drain; the others would have gone on."""
    result = start(tmp_path)
    folder = JobFolder(tmp_path, "j")
    folder.ask("checkpoint")
    files.arm("coordinator.drain:1:eio")
    try:
        folder.send("drain")
        with pytest.raises(StorageError, match="fault point"):
            result.wait_until_finish(DEADLINE_MS)
    finally:
        files.arm(None)
    start(tmp_path, held=False).wait_until_finish(DEADLINE_MS)
    assert folder.state() == "DRAINED"
    campaign_answers.check("stateful", str(tmp_path / "out"), SIZE, drained=True)


def test_a_test_stream_that_has_ended_has_ended_for_good(tmp_path: Path) -> None:
    """Restarts after each bundle went on for ever: the end was a bundle of its own, and no checkpoint knew of it."""
    options = [
        "--runner=LogRunner",
        "--job_name=j",
        f"--log_dir={tmp_path}",
        "--no_progress",
        "--inject_restarts=1",
    ]
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        events = TestStream().add_elements([1]).advance_watermark_to_infinity()
        p | events | beam.WindowInto(beam.window.FixedWindows(10)) | beam.combiners.Count.PerElement()
    assert JobFolder(tmp_path, "j").record().attempts < 12


def test_the_campaign_knows_every_fault_point_of_the_runner() -> None:
    root = Path(__file__).resolve().parents[2]
    folders = ["runners/log", "sdk/storage/checkpoint", "io"]
    sources = [path for folder in folders for path in (root / folder).glob("*.py")]
    named = {name for path in sources for name in re.findall(r'\.fault\("([a-z._]+)"\)', path.read_text())}
    known = {point.name for point in kill_points.POINTS}
    beside = {"kafka.begun", "kafka.sent", "kafka.committed"}  # kafka_io/kafka_kill_campaign has them
    assert named - beside == {name for name in known if not name.startswith("files.")}
