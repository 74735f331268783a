"""What a job's status says of the steps: when nothing is known yet, at the end, and what was dropped."""

from __future__ import annotations

import pytest

import hornbeam as beam
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME
from hornbeam.runners.engine.late_data import DROPPED_CLOSED, DROPPED_LATE
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.log.plans import plan_for
from hornbeam.runners.log.step_status import joined, step_statuses
from hornbeam.runners.log.task import Task
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
    task: Task, watermark: int, shown: int | str | None, lag_ms: int | None
) -> None:
    for stage in task.stages.values():
        stage.output_watermark = watermark
    found = joined([step_statuses(task), step_statuses(task)], {}, NOW)
    assert {(step.output_watermark, step.lag_ms) for step in found} == {(shown, lag_ms)}


def test_what_was_dropped_is_told(task: Task) -> None:
    sums = task.container("Sum")
    sums.first_count(DROPPED_LATE, 3)
    sums.first_count(DROPPED_CLOSED, 2)
    assert {step.dropped for step in step_statuses(task)} == {0}  # not as long as the bundle may fail
    task.registry.commit()
    found = joined([step_statuses(task), step_statuses(task)], {}, NOW)
    assert {step.label: step.dropped for step in found} == {"Impulse": 0, "Sum": 10}
