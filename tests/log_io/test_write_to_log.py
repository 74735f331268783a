from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from log_io.topics import SECOND, take

import hornbeam as beam
from hornbeam.error import DataError, TransformError
from hornbeam.io import disk_space, log_write
from hornbeam.io.log_write import LogSink
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.io.staging_topic import Staged
from hornbeam.io.step_identity import step_identity
from hornbeam.io.two_phase import TwoPhaseSink, TwoPhaseWrite, TwoPhaseWriter, WriteTwoPhase
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.storage import files
from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import InvalidSettingError, Log, Producer, UnknownTopicError
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.partitioner import partition_of
from hornbeam.transforms.window import TimestampedValue


@pytest.mark.parametrize("transactional", [True, False])
def test_keys_values_and_times(tmp_path: Path, transactional: bool) -> None:
    with beam.Pipeline() as p:
        rows = p | beam.Create([{"k": f"k{n}", "n": n} for n in range(100)])
        timed = rows | beam.Map(lambda row: TimestampedValue(row, row["n"]))
        timed | WriteToLog(
            tmp_path,
            "out",
            key=lambda row: row["k"],
            value_coder=json.dumps,
            partitions=4,
            topic_settings={"compression": "lz4"},
            transactional=transactional,
        )
    with Log(tmp_path) as log:
        assert log.topic("out").settings.compression == "lz4"
        records = take(log, "out")
        assert sorted(json.loads(r.value or b"")["n"] for r in records) == list(range(100))
        for r in records:
            n = json.loads(r.value or b"")["n"]
            assert (r.key, r.timestamp_micros) == (f"k{n}".encode(), n * SECOND)
            assert r.partition == partition_of(r.key or b"", 4)


@pytest.mark.parametrize("timestamps", ["element", "clock"])
def test_elements_without_a_time_get_the_clocks(tmp_path: Path, timestamps: str) -> None:
    with Log(tmp_path) as log:
        begun = log.clock()
        with beam.Pipeline() as p:
            early = p | beam.Create(["a", None])
            late = p | "Counted" >> beam.Create([1]) | beam.combiners.Count.Globally() | beam.Map(str)
            (early, late) | beam.Flatten() | WriteToLog(tmp_path, "out", partitions=1, timestamps=timestamps)
        records = take(log, "out")
        assert sorted(str(r.value) for r in records) == ["None", "b'1'", "b'a'"]
        assert all(begun <= r.timestamp_micros <= log.clock() for r in records)


def test_nothing_of_a_bundle_that_fails_is_seen(tmp_path: Path) -> None:
    def fail_at_5(n: int) -> int:
        if n == 5:
            raise ValueError("no 5")
        return n

    with pytest.raises(ValueError, match="no 5"), beam.Pipeline() as p:
        (
            p
            | beam.Create(range(9))
            | beam.Map(fail_at_5)
            | WriteToLog(tmp_path, "out", value_coder=str, partitions=1)
        )
    with Log(tmp_path) as log:
        assert take(log, "out") == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"key": "id"}, TransformError, "key must be a function of the element; found 'id'"),
        ({"timestamps": "now"}, TransformError, "timestamps must be 'element' or 'clock'; found 'now'"),
        (
            {"topic_settings": {"retention": 1}},
            InvalidSettingError,
            "no topic setting 'retention'; there are batch_",
        ),
    ],
)
def test_arguments_that_have_no_meaning(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        WriteToLog("/nowhere", "t", **arguments)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, UnknownTopicError, "no topic 'out' in"),
        (
            {"partitions": 1},
            TypeError,
            "WriteToLog needs the value of a record as bytes, str or None; found 3 (int). Pass a",
        ),
        (
            {"partitions": 1, "value_coder": str, "key": abs},
            TypeError,
            "needs the key of a record as bytes, str or None",
        ),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised, beam.Pipeline() as p:
        p | beam.Create([3]) | WriteToLog(tmp_path, "out", **arguments)
    assert message in str(raised.value)
    assert any("WriteToLog" in note for note in raised.value.__notes__)


# Exactly once: the calls that a runner with checkpoints makes.


class Job:
    """A worker and a coordinator of one sink, as a runner drives them; both may be replaced at any time."""

    def __init__(self, directory: Path) -> None:
        self.write = WriteToLog(directory, "out", key=lambda v: v, partitions=2)
        self.write._sink.identity = "0123456789abcdef"
        self.new_attempt([])

    def new_attempt(self, tokens: list[Any]) -> None:
        """Everything is dead; a new coordinator commits what the last checkpoint names, then workers begin."""
        dofn = TwoPhaseWrite(self.write._sink)
        self.coordinator, self.worker = (cloudpickle.loads(cloudpickle.dumps(dofn)) for _ in range(2))
        for token in tokens:
            self.coordinator.commit(token)
        self.coordinator.recover(tokens)
        self.worker.setup()
        self.worker.begin_two_phase()

    def bundle(self, *values: str) -> None:
        self.worker.start_bundle()
        for value in values:
            self.worker.process((value.encode(), value.encode()))
        self.worker.finish_bundle()

    def checkpoint(self, number: int) -> Any:
        token = self.worker.prepare(number)
        return cloudpickle.loads(cloudpickle.dumps(self.worker.settle(token))) if token is not None else None


def seen(log: Log) -> str:
    return "".join(sorted((r.value or b"").decode() for r in take(log, "out")))


def test_what_is_written_is_seen_with_its_checkpoint_and_once(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        job = Job(tmp_path)
        job.bundle("a", "b")
        job.bundle("c")
        first = job.checkpoint(1)
        job.bundle("d")
        assert seen(log) == "" and job.checkpoint(2) is not None and job.checkpoint(3) is None
        job.coordinator.commit(first)
        assert seen(log) == "abc"
        job.coordinator.commit(first)
        assert seen(log) == "abc"
        # The coordinator dies before the second commit; "d" was not in a published checkpoint.
        job.new_attempt([first])
        assert seen(log) == "abc"
        job.bundle("e")
        second = job.checkpoint(2)
        job.new_attempt([second])
        assert seen(log) == "abce"
        # An old savepoint is begun from: its token was committed long ago, and its staging topic is gone.
        job.new_attempt([first])
        assert seen(log) == "abce"
        job.coordinator.recover([])
        assert [name for name in log.topics(internal=True) if name.startswith("__staging")] == []
        assert [name for name in OffsetStore.of(log).groups() if name.startswith("__staging")] == []


def test_what_is_copied_is_let_go_of_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_write, "_DELETE_RECORDS", 3)
    with Log(tmp_path) as log:
        job = Job(tmp_path)
        starts = []
        for checkpoint in range(5):
            job.bundle("a", "b")
            token = job.checkpoint(checkpoint)
            job.coordinator.commit(token)
            starts.append(log.partition(token.topic, 0).log_start_offset)
        assert starts == [0, 4, 4, 8, 8] and seen(log) == "aaaaabbbbb"


def test_a_commit_that_dies_half_way_is_done_whole(tmp_path: Path) -> None:
    """The copy is one transaction: none of it is seen, and the next commit does all of it, in order."""
    with Log(tmp_path) as log:
        job = Job(tmp_path)
        values = [f"{n:03}" for n in range(300)]
        job.bundle(*values)
        token = job.checkpoint(1)
        sink = job.coordinator.sink
        with pytest.raises(RuntimeError, match="dies"):
            _commit_and_die(sink, token)
        assert seen(log) == ""
        job.new_attempt([token])
        records = take(log, "out")
        assert sorted((r.value or b"").decode() for r in records) == values
        for partition in range(2):
            mine = [r.value or b"" for r in records if r.partition == partition]
            assert mine == sorted(mine)


def _commit_and_die(sink: LogSink, token: Staged) -> None:
    class Dying(Producer):
        def send_offsets(self, *args: Any) -> None:
            raise RuntimeError("dies before its commit")

    sink._publisher = Dying(sink._opened(), transactional_id=sink.staging_prefix + "publisher")
    sink.commit(token)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The storage of this process may be armed with faults; waiting for room takes no time."""
    monkeypatch.setattr(disk_space, "PAUSE_SECONDS", 0.0)
    yield
    files.arm(None)


@pytest.mark.parametrize("call", range(1, 37))
def test_a_full_disk_at_any_call_of_a_commit_or_of_staging(
    tmp_path: Path, full_disk: None, call: int
) -> None:
    """The n-th write, sync or rename finds no room, once; what is written comes once all the same."""
    with Log(tmp_path) as log:
        job = Job(tmp_path)
        job.bundle("a", "b")
        first = job.checkpoint(1)
        job.coordinator.commit(first)
        files.arm(f"*:{call}:enospc")
        job.bundle("c", "d")
        try:
            second = job.checkpoint(2)
        except StorageError:  # a snapshot that fails is given up, and the attempt with it
            files.arm(None)
            job.new_attempt([first])
            job.bundle("c", "d")
            second = job.checkpoint(2)
        job.coordinator.commit(second)
        files.arm(None)
        job.coordinator.commit(second)
        assert seen(log) == "abcd"


def test_the_identity_of_a_sink() -> None:
    options = PipelineOptions(["--job_name=j"])
    assert step_identity(options, "A/Write") == step_identity(PipelineOptions(["--job_name=j"]), "A/Write")
    assert step_identity(options, "A/Write") != step_identity(options, "B/Write")
    assert step_identity(PipelineOptions([]), "A") != step_identity(PipelineOptions([]), "A")


def test_the_identity_of_a_sink_is_the_same_however_its_folder_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a job that is started from elsewhere does not find what it had staged, and its open transaction stays open."""
    monkeypatch.chdir(tmp_path)
    identities = {
        step_identity(PipelineOptions(["--job_name=j", f"--log_dir={folder}"]), "A")
        for folder in ("jobs", "./jobs/", str(tmp_path / "jobs"))
    }
    assert len(identities) == 1


def test_staged_rows_that_are_gone_are_an_error(tmp_path: Path) -> None:
    """The commit once looked for them for ever."""
    with Log(tmp_path) as log:
        job = Job(tmp_path)
        job.bundle("a", "b")
        token = job.checkpoint(1)
        with pytest.raises(DataError, match=r"offset 2 to 5 .*are not there"):
            job.coordinator.commit(token._replace(stop=5))
        job.coordinator.commit(token)
        assert seen(log) == "ab"


# A sink of one's own


class Lines(TwoPhaseSink):
    """Lines of a file; staged in a list that the token holds."""

    def __init__(self, path: str) -> None:
        self.path = path

    def open_writer(self) -> TwoPhaseWriter:
        return LinesWriter()

    def commit(self, token: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in token))


class LinesWriter(TwoPhaseWriter):
    def __init__(self) -> None:
        self._staged: list[Any] = []

    def write_batch(self, values: Any, timestamps: Any) -> None:
        assert len(timestamps) == 0
        self._staged += values

    def prepare(self, checkpoint: int) -> Any:
        staged, self._staged = self._staged, []
        return staged or None

    def abort(self) -> None:
        self._staged = []


def test_a_sink_of_ones_own(tmp_path: Path) -> None:
    target = tmp_path / "lines"
    with beam.Pipeline() as p:
        p | beam.Create(range(20_000)) | WriteTwoPhase(Lines(str(target)))
    assert sorted(map(int, target.read_text().split())) == list(range(20_000))
    with pytest.raises(TransformError, match="needs a TwoPhaseSink; found 3"):
        WriteTwoPhase(3)  # type: ignore[arg-type]


def test_from_log_to_log_in_several_processes(tmp_path: Path) -> None:
    """Restrictions are split while they are worked on, and bundles written by several processes."""
    count = 150_000
    values = [b"%d" % n for n in range(count)]
    with Log(tmp_path) as log, Producer(log, acks="write") as producer:
        log.create_topic("t", 3)
        for start in range(0, count, 10_000):
            producer.append("t", values[start : start + 10_000], values[start : start + 10_000])
    options = PipelineOptions(["--runner=MultiProcessRunner", "--num_workers=2"])
    with beam.Pipeline(options=options) as p:
        read = p | ReadFromLog(tmp_path, "t", bounded=True, value_coder=int)
        read | beam.Map(lambda n: n + 1) | WriteToLog(tmp_path, "out", key=str, value_coder=str, partitions=2)
    with Log(tmp_path) as log:
        assert sorted(int(r.value or b"") for r in take(log, "out")) == list(range(1, count + 1))
