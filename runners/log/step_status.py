"""How the stages of a worker do, and of all workers together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import attrs

from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME, Backlog, SourceHead
from hornbeam.runners.engine.hot_keys import KeySample, hot_keys
from hornbeam.runners.engine.late_data import DROPPED_CLOSED, DROPPED_LATE
from hornbeam.runners.engine.operator import Operator
from hornbeam.runners.engine.stream_stage import StreamStage
from hornbeam.runners.log.edges import KEYED, SPREAD
from hornbeam.runners.log.job_status import StepStatus
from hornbeam.runners.log.rows_under_way import RowsUnderWay
from hornbeam.runners.log.task import Task
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, MIN_TIMESTAMP_MICROS

#: What stands for the end of time in a status.
END = "end"

#: A source is asked for its backlog so seldom that this takes at most one part in so many of the time.
_REST_FACTOR = 200

_DROPPED = (DROPPED_LATE.fast_name(), DROPPED_CLOSED.fast_name())


class StepReports:
    """What one worker tells of its stages, about twice a second. On the worker's main thread."""

    def __init__(self, task: Task, rows: RowsUnderWay) -> None:
        self._task = task
        self._rows = rows
        self._backlogs: dict[str, Backlog] = {}
        self._ask_again: dict[str, float] = {}

    def steps(self) -> tuple[StepStatus, ...]:
        """How each stage does."""
        return tuple(map(self._step, self._task.stages.values()))

    def keys(self) -> dict[str, KeySample]:
        """What is known of the keys that come to each stage, by its label."""
        stages = self._task.stages
        found = {stages[name].label: each.sample() for name, each in self._task.sampled_keys.items()}
        return {label: sample for label, sample in found.items() if sample is not None}

    def _step(self, stage: StreamStage) -> StepStatus:
        backlog = self._backlog(stage)
        return StepStatus(
            label=stage.label,
            steps=tuple(operator.label for operator in stage.operators.values()),
            elements=stage.elements,
            input_watermark=_shown(stage.input_watermark),
            output_watermark=_shown(stage.output_watermark),
            entries=stage.entries(),
            dropped=_dropped(self._task, stage.operators.values()),
            backlog_elements=backlog.elements,
            backlog_bytes=backlog.bytes,
        )

    def _backlog(self, stage: StreamStage) -> Backlog:
        """What waits: in exchanges, and in what a source reads."""
        backlog = Backlog()
        if isinstance(stage.head, SourceHead):
            backlog = self._of_source(stage.name, stage.head)
        edges = [
            edge for edge in self._task.edges if edge.stage == stage.name and edge.kind in (KEYED, SPREAD)
        ]
        if not edges:
            return backlog
        waiting = sum(self._rows.waiting(edge.number) for edge in edges)
        return attrs.evolve(backlog, elements=waiting + (backlog.elements or 0))

    def _of_source(self, name: str, head: SourceHead) -> Backlog:
        """What a source says; one that takes long over it is asked less often."""
        now = time.monotonic()
        if now >= self._ask_again.get(name, 0.0):
            self._backlogs[name] = head.backlog()
            self._ask_again[name] = now + _REST_FACTOR * (time.monotonic() - now)
        return self._backlogs[name]


def joined(
    of_workers: Sequence[tuple[StepStatus, ...]], keys: Sequence[Mapping[str, KeySample]], now: int
) -> tuple[StepStatus, ...]:
    """The stages over all workers: elements, entries and backlogs summed up, times the earliest."""
    found = []
    for parts in zip(*of_workers):
        output = _earliest(part.output_watermark for part in parts)
        label = parts[0].label
        found.append(
            attrs.evolve(
                parts[0],
                elements=sum(part.elements for part in parts),
                input_watermark=_earliest(part.input_watermark for part in parts),
                output_watermark=output,
                entries=sum(part.entries for part in parts),
                dropped=sum(part.dropped for part in parts),
                backlog_elements=_known_sum(part.backlog_elements for part in parts),
                backlog_bytes=_known_sum(part.backlog_bytes for part in parts),
                lag_ms=(now - output) // 1000 if isinstance(output, int) else None,
                hot_keys=hot_keys([of_worker[label] for of_worker in keys if label in of_worker]),
            )
        )
    return tuple(found)


def _known_sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


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
