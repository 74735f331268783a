"""Where elements come from: the impulse, and bounded sources read split by split, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import cloudpickle

from hornbeam.error import NotSupportedError
from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.failures import note_failure
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.transforms.window import GlobalWindows

#: How large a split of a source is asked to be.
SPLIT_BYTES = 64 << 20


def read_root(step: Transform, container: MetricsContainer, chunk: int = CHUNK) -> Iterator[Bundle]:
    """The elements of a root step, in chunks."""
    if step.urn == urns.IMPULSE:
        yield Bundle([b""])
    elif step.urn == urns.READ:
        yield from _read_source(step, container, chunk)
    else:
        raise NotSupportedError(
            f"step {step.label!r} ({step.urn}) is an unbounded root, in a run of bounded data"
        )


def _read_source(step: Transform, container: MetricsContainer, chunk: int) -> Iterator[Bundle]:
    source = cloudpickle.loads(step.payload)
    if not source.is_bounded():
        raise NotSupportedError(f"step {step.label!r} reads an unbounded source, in a run of bounded data")
    collected: list[Bundle] = []
    outputs = Outputs(GlobalWindows(), {"out": collected.append}, None, step.label)
    batches = _batches(source, chunk)
    while True:
        previous = set_current(container)
        try:
            values = next(batches, None)
        except BaseException as error:
            note_failure(error, step.label)
            raise
        finally:
            set_current(previous)
        if values is None:
            return
        # A source may give TimestampedValues and WindowedValues.
        outputs.send(Bundle(values))
        yield from collected
        collected.clear()


def _batches(source: Any, chunk: int) -> Iterator[list[Any]]:
    for split in source.split(SPLIT_BYTES):
        tracker = split.source.get_range_tracker(split.start_position, split.stop_position)
        read_batches = getattr(split.source, "read_batches", None)
        if read_batches is not None:
            yield from filter(None, read_batches(tracker, chunk))
            continue
        records = iter(split.source.read(tracker))
        while values := list(islice(records, chunk)):
            yield values
