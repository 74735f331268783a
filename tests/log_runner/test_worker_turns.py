"""A worker's turns: the time is known before elements come, a checkpoint does not move it, what is sent does not pile up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.engine.bundle import GLOBAL_WINDOWS, from_entries
from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.log import worker as worker_module
from hornbeam.runners.log.edges import KEYED
from hornbeam.runners.log.exchange import Exchange, Rows, create_exchange, dumps
from hornbeam.runners.log.messages import Begin
from hornbeam.runners.log.plans import plan_for
from hornbeam.runners.log.restoring import begin_task
from hornbeam.runners.log.room import WorkerSpace
from hornbeam.runners.log.routing import OUTBOX_BYTES
from hornbeam.runners.log.task import Task
from hornbeam.runners.log.worker import Worker
from hornbeam.runners.processes.environment import Environment
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from hornbeam.transforms.userstate import CombiningValueStateSpec
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN

COUNTS: list[int] = []


class CountForAMinute(beam.DoFn):
    """Counts the elements of a key until none has come for a minute."""

    count = CombiningValueStateSpec("count", VarIntCoder(), sum, ttl=60)

    def process(self, pair: Any, count: Any = beam.DoFn.StateParam(count)) -> None:
        count.add(1)
        COUNTS.append(count.read())


def note_count(pair: tuple[str, int]) -> None:
    COUNTS.append(pair[1])


class NobodyElse:
    """The coordinator's end of a worker's channel."""

    def send(self, message: Any) -> None:
        pass


def worker_and_other(p: beam.Pipeline, number: int, tmp_path: Path) -> tuple[Worker, Exchange]:
    """Worker `number` of two before its first turn, with nobody around it, and the other one's end of their exchange."""
    folder = str(tmp_path / "exchange")
    create_exchange(folder, 2)
    begin = Begin(
        job_name="j", graph=p.to_graph(), worker=number, workers=2, exchange=folder, checkpoints="", workers_lock="",
        restore_from=None, memory_bytes_max=1 << 30, bundle_size=0, idle_timeout_micros=None,
        exchange_bytes_max=1 << 20, options={}, spilled=str(tmp_path), environment=Environment.here(),
        coordinator_bytes=0,
    )  # fmt: skip
    worker = Worker(begin, NobodyElse())  # type: ignore[arg-type]
    worker._exchange = Exchange(folder, number, 2)
    worker._space = WorkerSpace(str(tmp_path), lambda text: None)
    worker._build()
    for _stage in worker._task.setup():
        pass
    begin_task(worker._task)
    return worker, Exchange(folder, 1 - number, 2)


def test_what_one_element_gives_is_sent_in_pieces(tmp_path: Path) -> None:
    """It need not fit in memory, neither here nor at the worker that it is for."""
    p = beam.Pipeline()
    p | beam.Impulse() | beam.FlatMap(lambda _: ((n, f"{n:1000}") for n in range(30_000))) | beam.GroupByKey()
    worker, other = worker_and_other(p, 0, tmp_path)
    worker._turn()
    sizes = []
    while (record := other.ins[0].take()) is not None:
        sizes.append(len(record.data))
    assert sum(sizes) > 10_000_000
    assert max(sizes) < 3 * OUTBOX_BYTES // 2


def test_what_others_send_comes_at_the_time_it_is_though_nothing_came_for_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    monkeypatch.setattr(worker_module, "WallClock", lambda: clock)
    p = beam.Pipeline()
    p | beam.Impulse() | beam.Map(lambda _: ("a", 1)) | beam.ParDo(CountForAMinute())
    worker, other = worker_and_other(p, 1, tmp_path)
    worker._advance()
    (edge,) = (edge for edge in worker._task.edges if edge.kind == KEYED)
    element = from_entries([("a", 1)], [0], [GLOBAL_WINDOWS], [PANE_INFO_UNKNOWN])
    COUNTS.clear()
    for _ in range(2):
        clock.advance(3_600_000_000 if not COUNTS else 1_000_000)
        other.outs[1].append(dumps([Rows(edge.number, element)]), None)
        worker._turn()
    assert COUNTS == [1, 2]


def test_what_is_given_out_as_the_clock_moves_comes_to_the_next_step_at_the_new_time() -> None:
    """The second grouping waits its own ten seconds for what the first one fires."""
    p = beam.Pipeline()
    stream = p | TestStream().add_elements([("a", 1)]).advance_processing_time(10).add_elements([("b", 1)])
    for number, delay in enumerate((1, 10)):
        trigger = Repeatedly(AfterProcessingTime(delay))
        stream |= f"window {number}" >> beam.WindowInto(
            beam.window.GlobalWindows(), trigger=trigger, accumulation_mode=AccumulationMode.DISCARDING
        )
        stream |= f"sum {number}" >> beam.CombinePerKey(sum)
    stream | beam.Map(note_count)
    plan, clock = plan_for(p.to_graph(), 1), ManualClock()
    task = Task(plan, 0, 1, TemporarySpace(None), 1 << 20, 0, MetricsRegistry(), clock, None)
    for _stage in task.setup():
        pass
    COUNTS.clear()
    for _ in range(3):
        source = task.ready_source(clock.now_micros())
        if source is not None:
            source.work(clock.now_micros())
        task.advance(clock.now_micros())
    assert COUNTS == []
    clock.advance(10_000_000)
    task.advance(clock.now_micros())
    assert COUNTS == [1]


def test_checkpoints_do_not_let_the_clock_of_a_test_stream_run_ahead(tmp_path: Path) -> None:
    """Checkpoints come as fast as they can between its events: what waits for the clock waits all the same."""
    options = ["--runner=LogRunner", "--job_name=j", f"--log_dir={tmp_path}", "--no_progress"]
    p = beam.Pipeline(options=PipelineOptions([*options, "--checkpoint_interval_ms=1"]))
    stream = TestStream()
    for number in range(100):
        stream = stream.add_elements([("a", number)])
    stream = stream.advance_processing_time(10).add_elements([("a", 0)]).advance_watermark_to_infinity()
    path = tmp_path / "panes"
    (
        p
        | stream
        | beam.WindowInto(
            beam.window.GlobalWindows(),
            trigger=Repeatedly(AfterProcessingTime(10)),
            accumulation_mode=AccumulationMode.DISCARDING,
        )
        | beam.combiners.Count.PerKey()
        | beam.Map(lambda pair: path.open("a").write(f"{pair[1]}\n"))
    )
    p.run().wait_until_finish()
    assert path.read_text().split() == ["100", "1"]
