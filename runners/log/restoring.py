"""A task from a checkpoint: what heads, gates and views kept, how far time had come, and the rows that were under way."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np

from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.head import BEGINNING_OF_TIME
from hornbeam.runners.engine.root_heads import BEGUN
from hornbeam.runners.engine.stream_stage import StreamStage
from hornbeam.runners.log.edges import KEY_GROUPS, worker_of_group
from hornbeam.runners.log.keyed_entries import pickled_columns
from hornbeam.runners.log.state_names import CHANNELS, CLOCK, LOCAL_GROUP, METRICS, worker_of
from hornbeam.runners.log.task import Task
from hornbeam.runners.planner.plan import ROOT_URNS
from hornbeam.storage.checkpoint import StoreReader, groups_of_worker

#: For each sender, records in the order of sending.
UnderWay = dict[int, list[bytes]]


def begin_task(task: Task) -> None:
    """Roots begin at the first worker only."""
    if task.worker == 0:
        return
    for stage in task.plan.stages:
        if task.plan.steps[stage.steps[0]].urn in ROOT_URNS:
            head = task.stages[stage.name].head
            assert head is not None
            head.load([(BEGUN, 0)])


def restore_task(task: Task, checkpoints: str, which: int | str) -> UnderWay:
    """Loads a checkpoint that was taken with as many workers; gives the rows that were under way to this one."""
    begin_task(task)
    groups = groups_of_worker(task.worker, task.workers, KEY_GROUPS)
    under_way: UnderWay = {}
    by_stage: dict[str, list[tuple[bytes, bytes]]] = {}
    with StoreReader(checkpoints).snapshot(which, groups=range(LOCAL_GROUP, LOCAL_GROUP + 1)) as snapshot:
        for key, value in snapshot.scan():
            worker, rest = worker_of(key.key)
            if worker != task.worker:
                continue
            if key.state == CHANNELS:
                under_way = pickle.loads(value)
            elif key.state == METRICS:
                task.registry.merge(pickle.loads(value))
            elif key.state == CLOCK:
                assert isinstance(task.clock, ManualClock)
                task.clock.advance(pickle.loads(value) - task.clock.now_micros())
            else:
                by_stage.setdefault(key.state, []).append((rest, value))
    for name, stage in task.stages.items():
        _load_local(task, name, stage, by_stage.get(stage.label, []))
    with StoreReader(checkpoints).snapshot(which, groups=groups) as snapshot:
        for name, stage in task.stages.items():
            if task.is_keyed(name):
                assert stage.head is not None
                chunks: Iterator[tuple[list[bytes], list[Any]]] = snapshot.scan_chunks(state=stage.label)
                stage.head.load_pickled(pickled_columns(chunks, stage.label))
    return under_way


def _load_local(task: Task, name: str, stage: StreamStage, entries: list[tuple[bytes, bytes]]) -> None:
    head: list[Any] = []
    gate: list[Any] = []
    views: dict[str, list[Any]] = {tag: [] for tag in stage.views}
    for rest, value in entries:
        kind, content = rest[:1], pickle.loads(value)
        if kind == b"h":
            head.append(content)
        elif kind == b"g":
            gate.append(content)
        elif kind == b"v":
            views[rest[1 : rest.index(b"\0")].decode()].append(content)
        elif kind == b"m":
            stage.input_watermark, stage.output_watermark, marks = content
            _load_marks(task, name, marks)
    if stage.head is not None and stage.input_watermark > BEGINNING_OF_TIME:
        stage.head.advance(stage.input_watermark, task.clock.now_micros())
    if head and stage.head is not None:
        stage.head.load(head)
    if gate and stage.gate is not None:
        stage.gate.load(_own_rows(task, name, gate) if task.is_keyed(name) else gate)
    for tag, found in views.items():
        if found:
            stage.views[tag].load(found)


def _own_rows(task: Task, stage: str, entries: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Of the rows that wait before a step with keys, those whose keys belong to this worker."""
    groups = task.key_groups(stage)
    for entry, rows in entries:
        own = []
        for window, index, bundle in rows:
            kept = [
                place
                for place, (key, _) in enumerate(bundle.values)
                if worker_of_group(groups.of(key), task.workers) == task.worker
            ]
            if kept:
                values = [bundle.values[place] for place in kept]
                own.append((window, index, bundle.take(values, np.array(kept))))
        yield entry, own


def _load_marks(task: Task, name: str, marks: dict[str, list[int]]) -> None:
    for input_ in task.inputs:
        if input_.edge.stage == name and input_.edge.tag in marks:
            found = marks[input_.edge.tag]
            if input_.is_remote:
                input_.marks = list(found)
            input_.at.watermark = max(input_.at.watermark, min(found))
