"""The life of a job: starts, stops, moves to other workers and pipelines, and what it does when something fails."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import re
import shutil
import signal
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import attrs
import pytest
from log_runner import campaign_jobs
from log_runner.running import DEADLINE_MS, Job, await_, hold, let_go
from log_runner.staged_files import committed

import hornbeam as beam
from hornbeam.error import DataError, PipelineError, RunnerError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.attempt import Attempt
from hornbeam.runners.log.job_folder import JobFolder, jobs_in
from hornbeam.storage import files
from hornbeam.storage.checkpoint import StoreReader
from hornbeam.storage.log import Consumer, Log


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("stateful", tmp_path)


def test_a_second_start_is_refused_while_the_job_runs(job: Job) -> None:
    result = job.start("--num_workers=1")
    with pytest.raises(
        RunnerError, match=r"job 'stateful' in .* is running already \(process \d+, .*hornbeam job stop"
    ):
        job.start("--num_workers=1")
    assert job.folder.is_running()
    result.cancel()
    assert not job.folder.is_running()
    assert [found.job_name for found in jobs_in(job.path)] == ["stateful"]


def test_a_job_that_has_ended_is_not_run_again_unless_fresh(job: Job) -> None:
    job.finish("--num_workers=1")
    before = len(list(committed(os.path.join(job.path, "seen"))))
    assert job.run("--num_workers=1") == "DONE"
    assert len(list(committed(os.path.join(job.path, "seen")))) == before
    assert job.run("--num_workers=1", "--fresh") == "DONE"
    assert len(list(committed(os.path.join(job.path, "seen")))) == 2 * before


@pytest.mark.parametrize(
    "name", sorted({*campaign_jobs.PIPELINES} - {"log"})
)  # that one ends, so `run` waits for it
def test_state_moves_to_other_numbers_of_workers(name: str, tmp_path: Path) -> None:
    job = Job(name, tmp_path)
    for step, workers in enumerate((2, 3, 1)):
        result = job.start(f"--num_workers={workers}")
        job.await_progress(60 * (step + 1))
        answer = job.folder.ask("stop", name=f"after-{workers}")
        assert answer["savepoint"] == f"after-{workers}"
        assert result.wait_until_finish(DEADLINE_MS) == "STOPPED"
        assert job.folder.state() == "STOPPED"
    job.finish("--num_workers=4")


def test_another_number_of_workers_after_an_end_without_a_savepoint(tmp_path: Path) -> None:
    job = Job("windowed", tmp_path)
    result = job.start("--num_workers=2")
    job.await_progress(100)
    assert result.cancel() == "CANCELLED"
    job.finish("--num_workers=3")


def test_a_savepoint_is_taken_while_the_job_goes_on(job: Job) -> None:
    result = job.start("--num_workers=2")
    job.await_progress(50)
    answer = job.folder.ask("savepoint", name="half")
    job.end(result)
    with StoreReader(job.folder.checkpoints).snapshot("half") as snapshot:
        assert snapshot.checkpoint == answer["checkpoint"]
        assert snapshot.metadata["workers"] == 2


def test_what_is_asked_for_at_once_is_answered_one_after_the_other(job: Job) -> None:
    """Seen: the second took the first one's place, which was never answered."""
    result = job.start("--num_workers=2")
    job.await_progress(20)
    names = ["one", "two", "three"]
    savepoints = [job.folder.send("savepoint", name=name) for name in names]
    explanations = [job.folder.send("explain", step="number") for _ in names]
    checkpoints = [job.folder.answer(id_)["checkpoint"] for id_ in savepoints]
    assert len(set(checkpoints)) == 3
    assert all("number: input watermark" in job.folder.answer(id_)["text"] for id_ in explanations)
    job.end(result)
    for name in names:
        with StoreReader(job.folder.checkpoints).snapshot(name) as snapshot:
            assert snapshot.metadata["quiesced"]


def test_what_is_asked_for_and_not_done_when_workers_die_is_answered(job: Job, monkeypatch: Any) -> None:
    monkeypatch.setenv("HORNBEAM_WORKER_FAULTS", "1@1=worker.cut:3:kill")
    result = job.start("--num_workers=2", "--checkpoint_interval_ms=100000")
    job.folder.ask("checkpoint")
    job.folder.ask("checkpoint")
    with pytest.raises(RunnerError, match="gone back to its last checkpoint, meanwhile; ask again"):
        job.folder.ask("checkpoint")
    job.end(result)


def test_savepoints_one_after_the_other_and_names_that_cannot_be(job: Job) -> None:
    """What is asked for from a terminal never harms the job."""
    result = job.start("--num_workers=2")
    job.await_progress(20)
    with open(os.path.join(job.folder.path, "commands", "1.json"), "w") as file:
        file.write('{"command": "savepoint"}')  # not of our making
    for name, why in (
        ("a b/c", "cannot name a savepoint: use 1 to 100 letters"),
        ("12", "'12' cannot name a savepoint: numbers are those of checkpoints"),
    ):
        with pytest.raises(RunnerError, match=why):
            job.folder.ask("savepoint", name=name)
    asked = [job.folder.send("savepoint", name=name) for name in ("one", "two", None, None, "one")]
    answers = [job.folder.answer(id_) for id_ in asked[:-1]]
    with pytest.raises(RunnerError, match="there is a savepoint 'one' already; take another name"):
        job.folder.answer(asked[-1])
    names = {answer["savepoint"] for answer in answers}
    assert len(names) == 4 and {"one", "two"} < names
    assert {kept.savepoint for kept in StoreReader(job.folder.checkpoints).savepoints()} == names
    job.end(result)


def test_a_damaged_exchange_costs_an_attempt(tmp_path: Path) -> None:
    """What is under way between workers is not state: it is sent again. The job's folder may be tidied up meanwhile, too."""
    job = Job("stateful", tmp_path, size=300)
    result = job.start("--num_workers=2", hold_at=20)
    job.await_progress(20)
    receiver = job.workers()[1]
    shutil.rmtree(os.path.join(job.folder.path, "commands"))
    os.kill(receiver, signal.SIGSTOP)
    job.let_go()
    (attempt,) = Path(job.folder.exchange).iterdir()

    def size() -> int:
        with contextlib.suppress(FileNotFoundError):  # one whose records were all taken goes
            return newest().stat().st_size
        return 0

    def newest() -> Path:
        return max((attempt / "topics" / "exchange" / "2").glob("*.log"))

    await_(lambda: size() > 8000)  # by far the most of which the receiver has not taken
    with open(newest(), "r+b") as file:
        file.seek(4000)
        file.write(b"\xa5" * 4000)
    os.kill(receiver, signal.SIGCONT)
    job.end(result)
    assert "exchange" in job.folder.status().last_failure


def test_drain_gives_out_what_is_kept_and_ends(tmp_path: Path) -> None:
    job = Job("windowed", tmp_path, size=100_000)
    result = job.start("--num_workers=2")
    job.await_progress(100)
    assert job.folder.ask("drain")["state"] == "DRAINED"
    assert result.wait_until_finish(DEADLINE_MS) == "DRAINED"
    seen = list(committed(os.path.join(job.path, "seen")))
    given = Counter(tag for key, values in committed(os.path.join(job.path, "result")) for _, tag in values)
    assert given == Counter(tag for _, (_, tag) in seen)
    assert set(given.values()) == {1}


def test_explain_says_what_holds_time_back(job: Job) -> None:
    result = job.start("--num_workers=2")
    job.await_progress()
    text = job.folder.ask("explain", step="number")["text"]
    assert "number: input watermark" in text and "read: " in text
    with pytest.raises(RunnerError, match="no step is called 'nobody'"):
        job.folder.ask("explain", step="nobody")
    assert "read" in str(result.explain("number"))
    result.cancel()


def test_a_worker_that_hangs_is_replaced(job: Job) -> None:
    result = job.start("--num_workers=2", "--worker_timeout_ms=1500")
    job.await_progress(50)
    os.kill(job.workers()[1], signal.SIGSTOP)
    job.end(result)
    assert job.folder.status().restarts >= 1
    assert "has said nothing" in job.folder.status().last_failure


class Finalized(beam.DoFn):
    """Registers a finalizer that fails, and one that leaves a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def process(self, x: Any, finalizer: Any = beam.DoFn.BundleFinalizerParam) -> Any:
        finalizer.register(lambda: 1 / 0)
        finalizer.register(Path(self.path).touch)
        yield x


def test_a_finalizer_that_fails_keeps_no_other_from_being_called(tmp_path: Path) -> None:
    options = [
        "--runner=LogRunner",
        "--job_name=f",
        f"--log_dir={tmp_path}",
        "--num_workers=1",
        "--failures_max=1",
    ]
    with pytest.raises(ZeroDivisionError), beam.Pipeline(options=PipelineOptions(options)) as p:
        p | beam.Create([1]) | beam.ParDo(Finalized(str(tmp_path / "called")))
    assert (tmp_path / "called").exists()


def test_the_last_checkpoint_is_the_last(tmp_path: Path, monkeypatch: Any) -> None:
    """Seen: another one was begun, and given up, while workers ended."""
    begun: list[bool] = []
    begin = Attempt._begin_checkpoint

    def counting(attempt: Attempt, is_quiesced: bool, *arguments: Any, **named: Any) -> None:
        begun.append(is_quiesced)
        begin(attempt, is_quiesced, *arguments, **named)

    monkeypatch.setattr(Attempt, "_begin_checkpoint", counting)
    options = ["--runner=LogRunner", "--job_name=last", f"--log_dir={tmp_path}", "--num_workers=2"]
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        p | beam.Create([1]) | beam.Map(print)
    assert begun.count(True) == 1


class HangsOnce(beam.DoFn):
    """Hangs in the teardown of a worker that got no elements, the first time."""

    def __init__(self, flag: str) -> None:
        self.flag = flag
        self.has_elements = False

    def process(self, x: Any) -> Any:
        self.has_elements = True
        yield x

    def teardown(self) -> None:
        if not self.has_elements and not os.path.exists(self.flag):
            Path(self.flag).touch()
            time.sleep(1000)


def test_a_worker_that_hangs_when_others_have_ended_is_replaced(tmp_path: Path) -> None:
    options = [
        "--runner=LogRunner", "--job_name=hangs", f"--log_dir={tmp_path}", "--num_workers=2", "--no_progress",
        "--bundle_timeout_ms=1000",
    ]  # fmt: skip
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        p | beam.Create([1]) | beam.ParDo(HangsOnce(str(tmp_path / "hung")))
    assert (tmp_path / "hung").exists()
    assert JobFolder(tmp_path, "hangs").status().restarts


@pytest.mark.parametrize("hangs", ["loops", "sleeps"])
def test_user_code_that_does_not_come_back_is_named_and_ended(
    hangs: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By its line; when it is mended (here: when it has hung once), the job goes on."""
    path = tmp_path / "once"
    path.touch()

    def stuck(number: int) -> int:
        if number == 30 and path.exists():
            path.unlink()
            while hangs == "loops":
                pass
            time.sleep(10_000)
        return number

    options = ["--runner=LogRunner", "--job_name=stuck", f"--log_dir={tmp_path}", "--num_workers=1",
               "--bundle_timeout_ms=2500"]  # fmt: skip
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        numbers = p | beam.Create(range(60)) | beam.Map(stuck)
        numbers | "write" >> beam.ParDo(campaign_jobs.WriteStaged(str(tmp_path / "out")))
    assert sorted(committed(str(tmp_path / "out"))) == list(range(60))
    line = stuck.__code__.co_firstlineno + 3
    where = rf"at line ({line}|{line + 1}|{line + 2}) of .*test_jobs.py, in stuck"
    assert re.search(rf"worker 0 has been in one bundle for \d+ s, {where}", caplog.text)


def test_workers_are_not_blamed_when_the_coordinator_stood_still(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two minutes: as a sink's slow commit, or a machine that was busy with others, would have it."""
    result = job.start("--num_workers=2")
    job.await_progress(20)
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 120)
    job.end(result)
    assert job.folder.status().restarts == 0


def test_a_worker_that_is_killed_is_replaced(job: Job) -> None:
    result = job.start("--num_workers=2")
    job.await_progress(50)
    os.kill(job.workers()[0], signal.SIGKILL)
    job.end(result)
    assert "has died" in job.folder.status().last_failure


def _picky(path: Path, *flags: str) -> Any:
    """A pipeline that cannot take 70 as long as there is a file `poison`."""
    poison = path / "poison"

    class Picky(beam.DoFn):
        def process(self, element: Any) -> Any:
            if element == 70 and poison.exists():
                raise ValueError("this one cannot be")
            yield element

    options = ["--runner=LogRunner", "--job_name=picky", f"--log_dir={path}", "--num_workers=2", "--bundle_size=1",
               "--checkpoint_interval_ms=20", *flags]  # fmt: skip
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    (
        pipeline
        | beam.Create([0, 1, 2], reshuffle=False)
        | "read" >> beam.ParDo(campaign_jobs.reading(120, 0.002))
        | "values" >> beam.Map(lambda pair: pair[1][0])
        | "pick" >> beam.ParDo(Picky())
        | "write" >> beam.ParDo(campaign_jobs.WriteStaged(str(path / "out")))
    )
    return pipeline.run()


def test_a_poison_element_fails_the_job_which_goes_on_when_the_step_is_mended(tmp_path: Path) -> None:
    (tmp_path / "poison").touch()
    with pytest.raises(ValueError, match="this one cannot be") as raised:
        _picky(tmp_path).wait_until_finish(DEADLINE_MS)
    assert "while running step 'pick' on element 70" in raised.value.__notes__[0]
    folder = JobFolder(tmp_path, "picky")
    failure = folder.record().failure
    assert folder.state() == "FAILED"
    assert (failure["step"], failure["element"], failure["type"]) == ("pick", "70", "ValueError")
    (tmp_path / "poison").unlink()
    assert _picky(tmp_path).wait_until_finish(DEADLINE_MS) == "DONE"
    assert Counter(committed(str(tmp_path / "out"))) == Counter(dict.fromkeys(range(120), 3))


def test_a_poison_element_is_skipped_to_a_topic_if_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "poison").touch()
    assert _picky(tmp_path, "--skip_poison_to=dead").wait_until_finish(DEADLINE_MS) == "DONE"
    assert Counter(committed(str(tmp_path / "out"))) == Counter({v: 3 for v in range(120) if v != 70})
    with Log(tmp_path) as log, Consumer(log, "dead") as consumer:
        letters = [json.loads(record.value) for record in consumer.read_available(timeout_s=1)]
    assert {(letter["step"], letter["element"]) for letter in letters} == {("pick", "70")}
    assert len(letters) >= 3
    (found,) = JobFolder(tmp_path, "picky").record().poison["pick"].values()
    assert found == "70"


@attrs.frozen(repr=False)
class Long:
    """Elements whose short forms are all the same, or different each time."""

    number: int
    repr: str = "the same"

    def __repr__(self) -> str:
        return f"<at {id(self)}>" if self.repr == "different" else "x" * 1000


@pytest.mark.parametrize("shown", ["the same", "different"])
def test_elements_that_look_alike_are_told_apart(shown: str, tmp_path: Path) -> None:
    """By what they are made of: one that cannot be processed is known when it comes again, and no other is skipped."""

    def pick(element: Long) -> int:
        if element.number in (30, 31):
            raise ValueError("this one cannot be")
        return element.number

    options = ["--runner=LogRunner", "--job_name=alike", f"--log_dir={tmp_path}", "--num_workers=2", "--bundle_size=7",
               "--checkpoint_interval_ms=20", "--skip_poison_to=dead"]  # fmt: skip
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        (
            p
            | beam.Create([Long(number, shown) for number in range(100)])
            | beam.Map(lambda element: (element.number % 5, element))
            | beam.Reshuffle()
            | beam.Values()
            | "pick" >> beam.Map(pick)
            | "write" >> beam.ParDo(campaign_jobs.WriteStaged(str(tmp_path / "out")))
        )
    assert sorted(committed(str(tmp_path / "out"))) == [n for n in range(100) if n not in (30, 31)]
    with Log(tmp_path) as log, Consumer(log, "dead") as consumer:
        letters = [json.loads(record.value) for record in consumer.read_available(timeout_s=1)]
    assert {pickle.loads(base64.b64decode(letter["pickled"])).number for letter in letters} == {30, 31}


def test_damaged_state_is_refused_and_the_checkpoint_before_it_offered(job: Job) -> None:
    result = job.start(
        "--num_workers=1", "--checkpoints_kept=5", "--checkpoint_interval_ms=3600000", hold_at=30
    )
    for rows in (30, 60):  # so that the newest checkpoint has state that an older one has not
        while len(list(committed(os.path.join(job.path, "seen")))) < rows:
            job.folder.ask("checkpoint")
        job.hold(60)
    result.cancel()
    oldest, *_, newest = StoreReader(job.folder.checkpoints).checkpoints()
    known = {file.name for file in oldest.files}
    damaged = next(file for file in newest.files if file.name not in known)
    with open(os.path.join(job.folder.checkpoints, "state", damaged.name), "r+b") as file:
        file.seek(damaged.size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    with pytest.raises(DataError, match=r"its state is damaged .* --restore_from=") as raised:
        job.run("--num_workers=1", "--checkpoints_kept=5")
    offered = str(raised.value).partition("--restore_from=")[2].split()[0]
    os.rename(file.name, f"{file.name}.away")
    with pytest.raises(DataError, match=r"its state is damaged .*file is missing.* With --repair"):
        job.run("--num_workers=1", "--checkpoints_kept=5")
    os.rename(f"{file.name}.away", file.name)
    assert job.run("--num_workers=1", "--checkpoints_kept=5", f"--restore_from={offered}") == "DONE"


@pytest.mark.parametrize("fault", ["files.create:2:enospc", "files.write:40:enospc"])
def test_a_full_disk_under_a_worker_holds_it_up(fault: str, job: Job, monkeypatch: Any) -> None:
    monkeypatch.setenv("HORNBEAM_WORKER_FAULTS", f"0@1={fault}")
    job.finish("--num_workers=2")


@pytest.mark.parametrize("at", [8, 33])
def test_a_full_disk_under_the_coordinator_holds_it_up(at: int, job: Job) -> None:
    files.arm(f"files.write:{at}:enospc")
    try:
        job.finish("--num_workers=2")
    finally:
        files.arm(None)


@pytest.mark.parametrize("error", ["enospc", "eio"])
def test_a_sink_that_could_not_commit_is_asked_again(error: str, job: Job) -> None:
    """Seen: what one commit failed with was raised again at every later attempt, so a disk that was full stayed so."""
    files.arm(f"sink.commit:2:{error}")
    try:
        job.finish("--num_workers=2")
    finally:
        files.arm(None)


def test_a_commit_that_does_not_come_back_holds_up_neither_status_nor_cancel(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when what a sink writes to is away: the job says so, takes no checkpoints, and does what it is told."""
    let_through, under_way = threading.Event(), threading.Lock()
    commit = campaign_jobs.WriteStaged.commit

    def held_up(sink: Any, token: str) -> None:
        with under_way:
            let_through.wait()
            commit(sink, token)

    monkeypatch.setattr(campaign_jobs.WriteStaged, "commit", held_up)
    result = job.start()
    await_(
        lambda: "waits for sinks to commit" in (status := job.folder.status()).message and status.checkpoint
    )
    told = job.folder.status().updated_micros
    await_(lambda: job.folder.status().updated_micros > told)
    result.cancel()
    assert result.wait_until_finish(DEADLINE_MS) == "CANCELLED"
    let_through.set()
    with under_way:  # the one that was held up has ended
        pass
    monkeypatch.undo()
    job.finish()


def test_metrics_count_what_counted(tmp_path: Path) -> None:
    """What was processed and lost in a failed attempt does not count."""
    job = Job("stateful", tmp_path)

    result = job.start("--num_workers=2")
    job.await_progress(50)
    os.kill(job.workers()[0], signal.SIGKILL)
    job.end(result)
    elements = defaultdict(int)
    for step in job.folder.status().steps:
        elements[step.label] = step.elements
    assert elements  # of the last attempt only: see `restarts`


def _changed(path: Path, steps: dict[str, Any], *flags: str) -> Any:
    """The stateful pipeline with the step that counts under another label, and steps before it."""
    options = [
        "--runner=LogRunner",
        "--job_name=changed",
        f"--log_dir={path}",
        "--checkpoint_interval_ms=40",
        *flags,
    ]
    pipeline = beam.Pipeline(options=PipelineOptions(options))
    rows = (
        pipeline
        | "partitions" >> beam.Create([0, 1, 2], reshuffle=False)
        | "read" >> beam.ParDo(campaign_jobs.reading(200, 0.002, f"{path}/{campaign_jobs.HOLD}"))
    )
    rows | "seen" >> beam.ParDo(campaign_jobs.WriteStaged(f"{path}/seen"))
    for label, step in steps.items():
        rows = rows | label >> step
    rows | "result" >> beam.ParDo(campaign_jobs.WriteStaged(f"{path}/result"))
    return pipeline.run()


@pytest.mark.parametrize("ends", ["stop", "cancel"])
def test_a_changed_pipeline_goes_on_with_the_state_of_the_old_one(ends: str, tmp_path: Path) -> None:
    job = Job("stateful", tmp_path, size=200)
    job.folder = JobFolder(tmp_path, "changed")
    hold(tmp_path, 199)
    result = _changed(tmp_path, {"number": beam.ParDo(campaign_jobs.Numbered())}, "--num_workers=2")
    job.await_progress(100)
    if ends == "stop":
        job.folder.ask("stop", name="before")
        result.wait_until_finish(DEADLINE_MS)
    else:
        result.cancel()
    changed = {"more": beam.Filter(lambda pair: True), "count": beam.ParDo(campaign_jobs.Numbered())}
    with pytest.raises(PipelineError, match=r"(?s)number.*LOST.*--map_transforms='number=count'"):
        _changed(tmp_path, changed, "--num_workers=3")
    assert not job.folder.is_running()
    let_go(tmp_path)
    result = _changed(tmp_path, changed, "--num_workers=3", "--map_transforms=number=count")
    assert result.wait_until_finish(DEADLINE_MS) == "DONE"
    campaign_jobs.check("stateful", job.path, job.size)


def test_splits_of_a_source_are_read_by_all_workers(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"part-{number}.txt").write_text("".join(f"{number}-{line}\n" for line in range(50)))
    options = ["--runner=LogRunner", "--job_name=read", f"--log_dir={tmp_path}", "--num_workers=3", "--bundle_size=5",
               "--inject_restarts=7", "--no_progress"]  # fmt: skip
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        (
            p
            | beam.io.ReadFromText(str(tmp_path / "part-*.txt"))
            | beam.Map(lambda line: (line, os.getpid()))
            | beam.ParDo(campaign_jobs.WriteStaged(str(tmp_path / "out")))
        )
    rows = list(committed(str(tmp_path / "out")))
    assert Counter(line for line, _ in rows) == Counter(f"{n}-{line}" for n in range(6) for line in range(50))
    assert len({pid for _, pid in rows}) >= 3


def test_a_job_that_was_killed_before_its_store_was_made_begins_anew(job: Job) -> None:
    """Seen in the kill campaign: the coordinator died between job.json and the checkpoint store."""
    result = job.start("--num_workers=1")
    result.cancel()
    shutil.rmtree(job.folder.checkpoints)
    for part in ("seen", "result"):
        shutil.rmtree(os.path.join(job.path, part), ignore_errors=True)
    job.finish("--num_workers=1")
