"""The table of the model suite: what a case is, and how what a pipeline gave is compared with what it should give.

A case is a function that builds a pipeline, with the expected elements in its decorator:

    @case([2, 3])
    def map_calls_the_function_with_each_element(p):
        return p | beam.Create([1, 2]) | beam.Map(lambda x: x + 1)

An element is expected as a value, or as At(value, time, window, pane) with what is of interest stated. A case with several
outputs gives a dict of PCollections and states the expected elements of each by keyword.
"""

from __future__ import annotations

import math
import os
import pathlib
import pickle
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import hornbeam as beam
from hornbeam.error import NotSupportedError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners import MultiProcessRunner
from hornbeam.transforms.window import GlobalWindow, IntervalWindow
from hornbeam.utils.timestamp import MIN_TIMESTAMP

#: The first and the last time of the global window, in seconds as `At` has them.
BEGINNING = MIN_TIMESTAMP.micros / 1e6
END = GlobalWindow().max_timestamp().micros / 1e6
GLOBAL = "global"


@attrs.frozen
class At:
    """An expected element with the metadata that matters: seconds, (start, end) in seconds or GLOBAL, a PaneInfo."""

    value: Any
    time: float | None = None
    window: Any = None
    pane: Any = None


@attrs.frozen
class Case:
    """A pipeline and what it gives, by output name."""

    name: str
    build: Callable[[beam.Pipeline], Any]
    expected: dict[str, list[Any]]


TABLE: dict[str, Case] = {}


def case(
    expected: list[Any] | None = None, **by_output: list[Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Puts the decorated builder into the table."""

    def add(build: Callable[..., Any]) -> Callable[..., Any]:
        name = build.__name__
        assert name not in TABLE, f"two cases named {name}"
        TABLE[name] = Case(name, build, by_output if expected is None else {"out": expected})
        return build

    return add


# What was given


class Observe(beam.DoFn):
    """Writes each element with its context to a file of its own in a folder, whatever process it runs in."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self) -> None:
        self.file = open(os.path.join(self.folder, uuid.uuid4().hex), "ab")

    def process(
        self,
        element: Any,
        timestamp: Any = beam.DoFn.TimestampParam,
        in_window: Any = beam.DoFn.WindowParam,
        pane: Any = beam.DoFn.PaneInfoParam,
    ) -> None:
        pickle.dump((typed(element), timestamp.micros / 1e6, plain_window(in_window), pane), self.file)

    def finish_bundle(self) -> None:
        self.file.flush()

    def teardown(self) -> None:
        self.file.close()


def observed(folder: pathlib.Path) -> list[tuple[Any, ...]]:
    """What was written in the folder."""
    rows: list[tuple[Any, ...]] = []
    for path in sorted(folder.iterdir()):
        rows.extend(_unpickled(path))
    return rows


def _unpickled(path: pathlib.Path) -> Iterator[Any]:
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def check(case_: Case, options: PipelineOptions, folder: pathlib.Path) -> None:
    """Runs the case and compares each of its outputs, in any order, with what is expected.

    A stream must be refused by a runner that runs bounded pipelines only.
    """
    pipeline = beam.Pipeline(options=options)
    built = case_.build(pipeline)
    outputs = built if isinstance(built, dict) else {"out": built}
    assert outputs.keys() == case_.expected.keys()
    for name, pcollection in outputs.items():
        (folder / name).mkdir()
        pcollection | f"observe {name}" >> beam.ParDo(Observe(str(folder / name)))
    bounded = all(pc.is_bounded for pc in pipeline.to_graph().pcollections.values())
    if not bounded and isinstance(pipeline.runner, MultiProcessRunner):
        with pytest.raises(NotSupportedError, match="runs bounded pipelines only"):
            pipeline.run()
        return
    pipeline.run().wait_until_finish()
    for name, expected in case_.expected.items():
        compare(expected, observed(folder / name))


def compare(expected: list[Any], rows: list[tuple[Any, ...]]) -> None:
    """Compares what the expected elements state, as bags. All of a case must state the same things."""
    wanted = [e if isinstance(e, At) else At(e) for e in expected]
    first = wanted[0] if wanted else At(None)
    stated = [True, first.time is not None, first.window is not None, first.pane is not None]

    def shown(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(field for field, matters in zip(row, stated) if matters)

    given = Counter(shown(row) for row in rows)
    due = Counter(shown((typed(e.value), e.time, e.window, e.pane)) for e in wanted)
    assert sorted((given - due).elements(), key=repr) == [], "unexpected"
    assert sorted((due - given).elements(), key=repr) == [], "missing"


def plain_window(window: Any) -> Any:
    """(start, end) in seconds, GLOBAL, or the repr of a window of another kind."""
    if type(window) is IntervalWindow:
        return window.start_micros / 1e6, window.end_micros / 1e6
    return GLOBAL if type(window) is GlobalWindow else repr(window)


def typed(value: Any) -> Any:
    """A hashable form of a value in which 1, 1.0 and True differ, as do 0.0 and -0.0, and NaN equals itself."""
    kind = type(value).__name__
    if isinstance(value, float):
        return kind, "nan" if math.isnan(value) else repr(float(value))
    if isinstance(value, (list, tuple)):
        return kind, tuple(map(typed, value))
    if isinstance(value, dict):
        return "dict", frozenset((typed(key), typed(item)) for key, item in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, frozenset(map(typed, value))
    return kind, repr(value)


# What many cases need


def in_time(p: beam.Pipeline, *pairs: tuple[Any, float], label: str = "in time") -> Any:
    """A PCollection of the values of (value, seconds) pairs at those times."""
    values = list(pairs)
    return (
        p
        | f"{label}/create" >> beam.Create(values)
        | f"{label}/stamp" >> beam.MapTuple(lambda value, time: beam.window.TimestampedValue(value, time))
    )


def grouped(pairs: Any, label: str = "group") -> Any:
    """GroupByKey with the values of each key in order."""
    return (
        pairs
        | label >> beam.GroupByKey()
        | f"{label}/sort" >> beam.MapTuple(lambda key, values: (key, sorted(values)))
    )
