"""How work gets to workers: split while it runs, by key, more workers when much waits; and hot keys."""

from __future__ import annotations

import functools
import logging
import os
import time

import attrs
import pytest

import hornbeam as beam
from hornbeam.error import NotSupportedError
from hornbeam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from hornbeam.io.utils import CountingSource
from hornbeam.runners.multiprocess import created
from hornbeam.runners.multiprocess.graph_run import plan_for_workers
from hornbeam.transforms.periodicsequence import PeriodicImpulse


def slow_pid(folder, x):
    """An element's work: quick, but for a process that is alone, so that the other one comes to have its share."""
    (folder / f"at-work-{os.getpid()}").touch()
    is_alone = len(list(folder.glob("at-work-*"))) < 2
    time.sleep(0.3 if is_alone else 0.005)
    return os.getpid(), x


def spread(options, tmp_path, build) -> dict[int, list[int]]:
    """The elements that each process worked on."""
    with beam.Pipeline(options=options) as p:
        (
            build(p, functools.partial(slow_pid, tmp_path))
            | "text" >> beam.Map(repr)
            | beam.io.WriteToText(str(tmp_path / "out"), shard_name_template="")
        )
    found: dict[int, list[int]] = {}
    for line in (tmp_path / "out").read_text().splitlines():
        pid, x = eval(line)
        found.setdefault(pid, []).append(x)
    return found


class Offsets(beam.RestrictionProvider):
    def initial_restriction(self, element):
        return OffsetRange(0, element)

    def create_tracker(self, restriction):
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element, restriction):
        return restriction.size()


class CountsSlowly(beam.DoFn):
    def __init__(self, work):
        self.work = work

    def process(self, element, tracker=beam.DoFn.RestrictionParam(Offsets())):
        position = tracker.current_restriction().start
        while tracker.try_claim(position):
            yield self.work(position)
            position += 1


#: One task at first, whatever it is made of; each has 200 elements of 5 ms.
WORK = {
    "a source": lambda p, work: p | beam.io.Read(CountingSource(200)) | beam.Map(work),
    "a Create": lambda p, work: p | beam.Create(range(200)) | beam.Map(work),
    "a reshuffle": lambda p, work: (
        p | beam.Create([200]) | beam.FlatMap(range) | beam.Reshuffle() | beam.Map(work)
    ),
    "groups": lambda p, work: (
        p | beam.Create(range(200)) | beam.GroupBy(lambda x: x) | beam.Map(lambda group: work(group[0]))
    ),
    "a splittable DoFn": lambda p, work: p | beam.Create([200]) | beam.ParDo(CountsSlowly(work)),
}


@pytest.mark.parametrize("kind", WORK)
def test_a_running_task_gives_work_to_an_idle_worker(flags, tmp_path, kind):
    by_process = spread(flags(), tmp_path, WORK[kind])
    assert sorted(x for own in by_process.values() for x in own) == list(range(200))
    assert len(by_process) == 2
    assert min(map(len, by_process.values())) >= 20


def test_more_workers_come_when_much_waits(flags, tmp_path):
    by_process = spread(flags("--min_workers=1", "--max_workers=4"), tmp_path, WORK["a source"])
    assert sorted(x for own in by_process.values() for x in own) == list(range(200))
    assert len(by_process) > 1


def test_a_hot_key_is_named_with_its_share(flags, caplog):
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(options=flags()) as p:
        pairs = (
            p | beam.io.Read(CountingSource(200_000)) | beam.Map(lambda i: ("hot" if i % 4 else str(i), i))
        )
        pairs | "group" >> beam.GroupByKey() | beam.Map(lambda kv: len(kv[1]))
    (warning,) = [record.getMessage() for record in caplog.records if "Hot key" in record.getMessage()]
    assert "75% of the 200,000 pairs" in warning and "'hot'" in warning and "'group'" in warning


def test_no_key_is_called_hot_where_none_is(flags, caplog):
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(options=flags()) as p:
        p | beam.io.Read(CountingSource(200_000)) | beam.Map(lambda i: (i % 100, i)) | beam.GroupByKey()
    assert not [record for record in caplog.records if "Hot key" in record.getMessage()]


def test_a_sink_with_one_shard_has_no_hot_key(flags, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(options=flags()) as p:
        lines = p | beam.io.Read(CountingSource(200_000)) | beam.Map(str)
        lines | beam.io.WriteToText(str(tmp_path / "out"), num_shards=1)
    assert not [record for record in caplog.records if "Hot key" in record.getMessage()]


def test_hot_key_fanout_gives_the_same_sums(flags, tmp_path):
    with beam.Pipeline(options=flags()) as p:
        pairs = p | beam.io.Read(CountingSource(50_000)) | beam.Map(lambda i: (min(i % 10, 1), i))
        sums = pairs | beam.CombinePerKey(sum).with_hot_key_fanout(5)
        sums | beam.Map(repr) | beam.io.WriteToText(str(tmp_path / "out"), shard_name_template="")
    expected = {0: sum(range(0, 50_000, 10)), 1: sum(i for i in range(50_000) if i % 10)}
    assert sorted((tmp_path / "out").read_text().splitlines()) == sorted(map(repr, expected.items()))


# Plans


def test_a_create_is_read_and_a_reshuffle_begins_a_stage():
    p = beam.Pipeline()
    p | "c" >> beam.Create([1, 2]) | "a" >> beam.Map(str) | "r" >> beam.Reshuffle() | "b" >> beam.Map(len)
    plan = plan_for_workers(p.to_graph())
    assert [[plan.steps[id_].label for id_ in stage.steps] for stage in plan.stages] == [
        ["c/Values", "c/Reshuffle/Redistribute", "a"],
        ["r/Redistribute", "b"],
    ]


def test_state_by_key_gets_an_exchange_by_key_and_all_elements_of_a_key_in_one_task(
    flags, tmp_path, monkeypatch
):
    """The engine does not have state yet, so a plain step is taken for a stateful one, and its end is watched."""
    marked = created.exchange_keys

    def as_if_stateful(plan):
        steps = {
            id_: attrs.evolve(step, spec={**step.spec, "stateful": True}) if step.label == "keeps" else step
            for id_, step in plan.steps.items()
        }
        exchanged = marked(attrs.evolve(plan, steps=steps))
        plain = {
            id_: attrs.evolve(s, spec={**s.spec, "stateful": False}) for id_, s in exchanged.steps.items()
        }
        return attrs.evolve(exchanged, steps=plain)

    from hornbeam.runners.multiprocess import graph_run

    passes = tuple(as_if_stateful if p is marked else p for p in graph_run._PASSES)
    monkeypatch.setattr(graph_run, "_PASSES", passes)

    class Keeps(beam.DoFn):
        def start_bundle(self):
            self.seen = {}

        def process(self, pair):
            self.seen.setdefault(pair[0], []).append(pair[1])

        def finish_bundle(self):
            with open(tmp_path / f"{os.getpid()}-{time.monotonic_ns()}", "w") as file:
                for key, values in self.seen.items():
                    file.write(f"{key} {len(values)}\n")

    with beam.Pipeline(options=flags()) as p:
        (
            p
            | beam.io.Read(CountingSource(30_000))
            | beam.Map(lambda i: (i % 300, i))
            | "keeps" >> beam.ParDo(Keeps())
        )
    lines = [line for path in tmp_path.iterdir() for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{key} 100" for key in range(300))


class Remembers(beam.DoFn):
    """Counts by key in state, and gives the counts when time ends."""

    COUNT = beam.transforms.userstate.CombiningValueStateSpec("count", sum)
    END = beam.transforms.userstate.TimerSpec("end", beam.TimeDomain.WATERMARK)

    def process(
        self, pair, count=beam.DoFn.StateParam(COUNT), end=beam.DoFn.TimerParam(END), w=beam.DoFn.WindowParam
    ):
        count.add(1)
        end.set(w.max_timestamp())

    @beam.transforms.userstate.on_timer(END)
    def ended(self, key=beam.DoFn.KeyParam, count=beam.DoFn.StateParam(COUNT)):
        yield key, count.read()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_state_is_kept_by_key_however_many_tasks_its_partitions_make(flags, tmp_path, workers):
    with beam.Pipeline(options=flags(f"--num_workers={workers}", "--memory_limit=1MB")) as p:
        pairs = p | beam.io.Read(CountingSource(60_000)) | beam.Map(lambda i: (i % 3000, i))
        counts = pairs | beam.ParDo(Remembers())
        counts | beam.Map(repr) | beam.io.WriteToText(str(tmp_path / "out"), shard_name_template="")
    found = (tmp_path / "out").read_text().splitlines()
    assert sorted(found) == sorted(f"({key}, 20)" for key in range(3000))


def test_a_stream_is_refused_before_anything_runs(flags):
    with (
        pytest.raises(NotSupportedError, match=r"gives unbounded data, and the MultiProcessRunner"),
        beam.Pipeline(options=flags()) as p,
    ):
        p | PeriodicImpulse(fire_interval=1) | beam.Map(print)
