"""How the stages of a worker do, and of all workers together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME
from hornbeam.runners.engine.late_data import DROPPED_CLOSED, DROPPED_LATE
from hornbeam.runners.engine.operator import Operator
from hornbeam.runners.log.job_folder import StepStatus
from hornbeam.runners.log.task import Task
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, MIN_TIMESTAMP_MICROS

#: What stands for the end of time in a status.
END = "end"

_DROPPED = (DROPPED_LATE.fast_name(), DROPPED_CLOSED.fast_name())


def step_statuses(task: Task) -> tuple[StepStatus, ...]:
    """The stages of one worker."""
    return tuple(
        StepStatus(
            label=stage.label,
            steps=tuple(operator.label for operator in stage.operators.values()),
            elements=stage.elements,
            input_watermark=_shown(stage.input_watermark),
            output_watermark=_shown(stage.output_watermark),
            entries=stage.entries(),
            dropped=_dropped(task, stage.operators.values()),
        )
        for stage in task.stages.values()
    )


def joined(
    of_workers: Sequence[tuple[StepStatus, ...]], rates: dict[str, float], now: int
) -> tuple[StepStatus, ...]:
    """The stages over all workers: elements and entries summed up, times the earliest."""
    found = []
    for parts in zip(*of_workers):
        output = _earliest(part.output_watermark for part in parts)
        found.append(
            attrs.evolve(
                parts[0],
                elements=sum(part.elements for part in parts),
                elements_per_s=rates.get(parts[0].label, 0.0),
                input_watermark=_earliest(part.input_watermark for part in parts),
                output_watermark=output,
                entries=sum(part.entries for part in parts),
                dropped=sum(part.dropped for part in parts),
                lag_ms=(now - output) // 1000 if isinstance(output, int) else None,
            )
        )
    return tuple(found)


def _dropped(task: Task, operators: Iterable[Operator]) -> int:
    counters = [task.container(operator.label).committed.counters for operator in operators]
    return sum(found.get(name, 0) for found in counters for name in _DROPPED)


def _earliest(marks: Iterable[int | str | None]) -> int | str | None:
    found = [BEGINNING_OF_TIME if m is None else END_OF_TIME if isinstance(m, str) else m for m in marks]
    return _shown(min(found))


def _shown(watermark: int) -> int | str | None:
    if watermark <= MIN_TIMESTAMP_MICROS:
        return None
    return END if watermark >= MAX_TIMESTAMP_MICROS else watermark
