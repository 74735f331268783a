"""What a job's status says of the steps: when nothing is known yet, at the end, and what was dropped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from log_runner.running import await_

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.io.logio import ReadFromLog
from hornbeam.io.tail import TailText
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME
from hornbeam.runners.engine.late_data import DROPPED_CLOSED, DROPPED_LATE
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.log.exchange import Mark, Rows
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.plans import plan_for
from hornbeam.runners.log.prometheus import render
from hornbeam.runners.log.rows_under_way import RowsUnderWay
from hornbeam.runners.log.step_status import StepReports, joined
from hornbeam.runners.log.task import Task
from hornbeam.storage.log import Log, Producer
from hornbeam.transforms.userstate import CombiningValueStateSpec
from hornbeam.transforms.window import FixedWindows
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, MIN_TIMESTAMP_MICROS

NOW = 1_700_000_000_000_000


@pytest.fixture
def task() -> Task:
    """A count of windows that has not begun."""
    p = beam.Pipeline()
    pairs = p | beam.Impulse() | beam.Map(lambda _: ("a", 1)) | beam.WindowInto(FixedWindows(1))
    pairs | "Sum" >> beam.CombinePerKey(sum)
    plan = plan_for(p.to_graph(), 1)
    return Task(plan, 0, 1, TemporarySpace(None), 1 << 20, 0, MetricsRegistry(), ManualClock(), None)


@pytest.fixture
def reports(task: Task, tmp_path: Path) -> StepReports:
    """What its worker tells."""
    return StepReports(task, RowsUnderWay(str(tmp_path), 0, 1, len(task.edges)))


@pytest.mark.parametrize(
    ("watermark", "shown", "lag_ms"),
    [
        (BEGINNING_OF_TIME, None, None),
        (MIN_TIMESTAMP_MICROS, None, None),
        (NOW - 2_000_000, NOW - 2_000_000, 2000),
        (MAX_TIMESTAMP_MICROS, "end", None),
        (END_OF_TIME, "end", None),
    ],
)
def test_the_ends_of_time_are_no_times(
    task: Task, reports: StepReports, watermark: int, shown: int | str | None, lag_ms: int | None
) -> None:
    for stage in task.stages.values():
        stage.output_watermark = watermark
    found = joined([reports.steps(), reports.steps()], [], NOW)
    assert {(step.output_watermark, step.lag_ms) for step in found} == {(shown, lag_ms)}


def test_what_was_dropped_is_told(task: Task, reports: StepReports) -> None:
    sums = task.container("Sum")
    sums.first_count(DROPPED_LATE, 3)
    sums.first_count(DROPPED_CLOSED, 2)
    assert {step.dropped for step in reports.steps()} == {0}  # not as long as the bundle may fail
    task.registry.commit()
    found = joined([reports.steps(), reports.steps()], [], NOW)
    assert {step.label: step.dropped for step in found} == {"Impulse": 0, "Sum": 10}


def test_rows_that_wait_are_those_sent_and_not_taken(tmp_path: Path) -> None:
    first, second = (RowsUnderWay(str(tmp_path), worker, 2, 3) for worker in range(2))
    first.sent(1, [Rows(2, Bundle([1, 2, 3])), Mark(2, 5), Rows(0, Bundle([4]))])
    second.sent(0, [Rows(2, Bundle([1]))])
    assert [second.waiting(edge) for edge in range(3)] == [1, 0, 3]
    second.took(2, 3)
    assert [second.waiting(edge) for edge in range(3)] == [1, 0, 0]
    assert [first.waiting(edge) for edge in range(3)] == [0, 0, 1]


class Slow(beam.DoFn):
    """Takes its time, and keeps a count."""

    COUNT = CombiningValueStateSpec("count", VarIntCoder(), sum)

    def process(self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT)) -> Any:
        count.add(1)
        time.sleep(0.002)
        yield pair


def test_a_job_tells_what_waits_and_which_keys_are_hot(tmp_path: Path) -> None:
    """Over a log, with a step that is too slow: in the source, between the workers, and in Prometheus's figures."""
    with Log(tmp_path) as log, Producer(log) as producer:
        log.create_topic("events", 2)
        for partition in range(2):
            keys = [b"hot" if i % 3 else b"%d" % i for i in range(3000)]
            producer.append("events", keys, partition=partition)
    options = ["--runner=LogRunner", "--job_name=slow", f"--log_dir={tmp_path}", "--num_workers=2",
               "--checkpoint_interval_ms=100", "--exchange_bytes_max=1024", "--bundle_size=20"]  # fmt: skip
    p = beam.Pipeline(options=PipelineOptions(options))
    pairs = p | ReadFromLog(tmp_path, "events") | beam.Map(lambda key: (key.decode(), 1))
    pairs | "count" >> beam.ParDo(Slow())
    result = p.run()
    folder = JobFolder(tmp_path, "slow")

    def steps() -> dict[str, Any]:
        status = folder.status()
        return {} if status is None else {step.label: step for step in status.steps}

    def all_is_told() -> bool:
        read, count = steps().get("ReadFromLog/Read"), steps().get("count")
        return bool(read and read.backlog_elements and count.backlog_elements and count.hot_keys)

    await_(all_is_told)
    text = render(folder.status())
    found = steps()
    assert 0 < found["ReadFromLog/Read"].backlog_elements < 6000
    assert found["ReadFromLog/Read"].backlog_bytes is None
    assert [key for key, _ in found["count"].hot_keys] == ["'hot'"]
    # Two thirds; of few samples, and of two workers of which one may have told more of its keys than the other.
    assert 0.3 < found["count"].hot_keys[0][1] < 0.9
    assert 'hornbeam_step_backlog_elements{job_name="slow",step="count"}' in text
    assert """hornbeam_step_hot_key_share{job_name="slow",step="count",key="'hot'"} 0.""" in text
    result.cancel()


def test_the_backlog_of_files_is_in_bytes(tmp_path: Path) -> None:
    """Of files that are read, and of one that grows."""
    for number in range(2):
        (tmp_path / f"{number}.txt").write_text("x" * 99 + "\n" + "y" * 99 + "\n")
    p = beam.Pipeline()
    p | beam.io.ReadFromText(str(tmp_path / "*.txt"))
    p | TailText(str(tmp_path / "0.txt"))
    plan = plan_for(p.to_graph(), 1)
    task = Task(plan, 0, 1, TemporarySpace(None), 1 << 20, 1, MetricsRegistry(), ManualClock(), None)
    for _stage in task.setup():
        pass
    task.track_changes()
    reports = StepReports(task, RowsUnderWay(str(tmp_path), 0, 1, len(task.edges)))

    def backlogs() -> dict[str, tuple[int | None, int | None]]:
        reports._ask_again.clear()
        return {s.label: (s.backlog_elements, s.backlog_bytes) for s in reports.steps() if "/" in s.label}

    assert backlogs()["ReadFromText/Read"] == (None, None)  # not looked at yet
    for _ in range(20):
        source = task.ready_source(0)
        if source is not None:
            source.work(0)
        task.advance(0)
    found = backlogs()
    assert found["ReadFromText/Read"] == (None, 0)
    assert found["TailText/Tail"] == (0, 0)
    with open(tmp_path / "0.txt", "a") as file:
        file.write("z" * 49 + "\n")
    assert backlogs()["TailText/Tail"] == (0, 50)
