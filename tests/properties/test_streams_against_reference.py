"""Generated streaming pipelines: the DirectRunner gives the panes of the reference interpreter, however it cuts its bundles.

Compared is the multiset of (value, timestamp, window, pane) of each observed stream, values up to the order inside
groups, and how many elements each step dropped. Programs that have several right results are left out; few have.
`CASES` keeps programs that once found a mistake, and some that must always be tried.
`SCALE=20 pytest tests/properties/test_streams_against_reference.py` tries twenty times as many.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from random import Random
from typing import Any

import attrs
import pytest
from properties.stream_cases import CASES
from properties.stream_programs import Program, Step
from properties.stream_programs import program as program_of
from properties.stream_shrinking import shrunk
from properties.stream_windowings import Windowing
from properties.vocabulary import canonical
from reference_dofn import LeftOpen
from reference_streams import exploded, interpret_streams

import hornbeam as beam
from hornbeam.graph.model import Graph
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.runner import create_runner

#: Value, timestamp in microseconds, window, pane.
Fact = tuple[str, int, str, str]
Facts = dict[str, Counter[Fact]]
#: How many elements were dropped, by step and counter.
Drops = dict[tuple[str, str], int]

MODES = {
    "one element a bundle": ["--bundle_size=1"],
    "two elements a bundle": ["--bundle_size=2"],
    "the engine's own bundles": ["--bundle_size=0"],
    "groups and state on disk": ["--bundle_size=3", "--memory_limit=1"],
}
#: Where the seeds begin, but in a soak.
MODES_SEEDS = {mode: 1_000_000 * index for index, mode in enumerate(MODES)}
#: In each mode; more in a soak.
EXAMPLES = 700 * int(os.environ.get("SCALE", "1"))

#: What was observed of each stream. The runner is in this process, so that its DoFns get at it.
OBSERVED: dict[str, list[Fact]] = defaultdict(list)


def observe(
    element: Any,
    name: str,
    timestamp: Any = beam.DoFn.TimestampParam,
    in_window: Any = beam.DoFn.WindowParam,
    pane: Any = beam.DoFn.PaneInfoParam,
) -> list[Any]:
    """Note the element with its context."""
    OBSERVED[name].append((canonical(element), timestamp.micros, repr(in_window), repr(pane)))
    return []


def observed(program: Program) -> Graph:
    """The program's graph, with an observer on the streams that it shows."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--allow_unsafe_triggers"]))
    for index, stream in enumerate(program.build(pipeline)):
        stream | f"observe{index}" >> beam.FlatMap(observe, f"observe{index}")
    return pipeline.to_graph()


def expected_of(graph: Graph) -> tuple[Facts, Drops]:
    """What the reference interpreter finds in the observed streams, and what was dropped."""
    streams = interpret_streams(_without_observers(graph))
    facts = {
        label: Counter(
            (canonical(e.value), e.timestamp.micros, repr(e.windows[0]), repr(e.pane_info))
            for e in exploded(streams.elements[input_id])
        )
        for label, input_id in _observers(graph)
    }
    drops = {(label, name): n for label, reasons in streams.drops.items() for name, n in reasons.items()}
    return facts, _by_outer_step(drops)


def found_by(graph: Graph, flags: list[str]) -> tuple[Facts, Drops]:
    """What the runner finds, and its counters of drops."""
    OBSERVED.clear()
    result = create_runner("DirectRunner").run(graph, PipelineOptions([*flags, "--no_progress"]))
    result.wait_until_finish()
    drops = {
        (counter.key.step, counter.key.metric.name): counter.committed
        for counter in result.metrics().query()["counters"]
        if counter.key.metric.name.startswith("dropped_") and counter.committed
    }
    return {label: Counter(OBSERVED[label]) for label, _ in _observers(graph)}, _by_outer_step(drops)


def _by_outer_step(drops: Drops) -> Drops:
    """By the label that the program gave: an engine may count for a composite as a whole."""
    found: Counter[tuple[str, str]] = Counter()
    for (label, name), count in drops.items():
        found[label.split("/")[0], name] += count
    return dict(found)


def _observers(graph: Graph) -> list[tuple[str, str]]:
    return [(t.label, t.inputs["in"]) for _, t in graph.leaves() if t.label.startswith("observe")]


def _without_observers(graph: Graph) -> Graph:
    roots = tuple(r for r in graph.roots if not graph.transforms[r].label.startswith("observe"))
    return Graph(graph.transforms, graph.pcollections, graph.windowings, graph.coders, roots)


def check(program: Program, *modes: list[str]) -> None:
    """Run the program in each of the modes and compare."""
    graph = observed(program)
    expected, dropped = expected_of(graph)
    for flags in modes:
        found, drops = found_by(graph, flags)
        for label, facts in expected.items():
            missing, unexpected = facts - found[label], found[label] - facts
            assert not missing and not unexpected, (
                f"{label}, {flags}: missing {list(missing.elements())}, unexpected {list(unexpected.elements())}"
            )
        assert drops == dropped, f"{flags}: dropped {drops}, expected {dropped}"


def mistake_in(program: Program, flags: list[str]) -> str | None:
    """What `check` complains of, if it does; nothing for a program with several right results."""
    try:
        check(program, flags)
    except AssertionError as error:
        return str(error)
    except LeftOpen:
        return None
    return None


@pytest.mark.parametrize("mode", MODES)
def test_the_engine_agrees_with_the_reference(mode: str) -> None:
    logging.disable(logging.WARNING)  # Unsafe triggers are meant here.
    try:
        for seed in _seeds(mode):
            program = program_of(seed)
            _try(firing_once(program) if seed % 4 == 0 else program, MODES[mode], seed)
    finally:
        logging.disable(logging.NOTSET)


def test_what_is_left_open_is_not_compared() -> None:
    """An element that waited for one side input comes in the very turn of another one's second pane."""
    events = (
        ("e", "a", (("a", 4, 29),)),
        ("e", "s", (("a", 9, 8), ("b", 6, 20), ("a", 1, -3))),
        ("w", "s", "end"),
    )
    steps = (Step("with_side_per_window"), Step("with_growing_side"))
    with pytest.raises(LeftOpen, match="in the turn of a side input's second pane"):
        expected_of(observed(Program(events, Windowing(), steps)))


def firing_once(program: Program) -> Program:
    """The program with windows that fire once, when they end: those of the engine's fast path, which few are by chance."""
    whole = Windowing(window_fn=program.windowing.window_fn, combiner=program.windowing.combiner)
    return attrs.evolve(program, windowing=whole)


def _seeds(mode: str) -> range:
    """The same in every run, new ones in a soak."""
    start = Random().randrange(1 << 40) if os.environ.get("HORNBEAM_SOAK") else MODES_SEEDS[mode]
    return range(start, start + EXAMPLES)


def _try(program: Program, flags: list[str], seed: int) -> None:
    try:
        mistake = mistake_in(program, flags)
    except Exception as error:
        error.add_note(f"seed {seed}, {flags}: {program!r}")
        raise
    if mistake is not None:
        small = shrunk(program, lambda smaller: mistake_in(smaller, flags) is not None)
        raise AssertionError(f"{mistake_in(small, flags)}\nseed {seed}, made small: {small!r}")


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    check(CASES[name], *MODES.values())
