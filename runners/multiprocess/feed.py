"""The elements of a task as they are asked for, of which a part may be given away while the task runs.

    worker's main thread ── take(n) ──► next elements          control thread ── split() ──► half of what is left

What is given is, in this order: later parts of the source, the later half of the part that is being read (its range tracker
decides), later blocks, or the later half of the elements that are at hand. The first three leave a task that can still be
stated, and so be done again by itself; what was at hand counts only together with the attempt that read it.
(Dynamic work rebalancing as in "No shard left behind", Google Cloud blog, 2016.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import cloudpickle

from hornbeam.error import NotSupportedError
from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.failures import note_failure
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.runners.multiprocess.blocks import BlockRef, read_block
from hornbeam.runners.multiprocess.columns import elements_of, pairs_of
from hornbeam.runners.multiprocess.created import CreatedSource, is_created
from hornbeam.runners.multiprocess.task import Blocks, Range, Ranges, Work
from hornbeam.transforms.window import GlobalWindows


class Pieces:
    """Where bundles come from. A subclass that can give a part of what is left away says so in `split`."""

    def bundles(self) -> Iterator[Bundle]:
        """All elements, on the main thread."""
        raise NotImplementedError(f"{type(self).__name__} does not define bundles()")

    def split(self) -> tuple[Work, Work] | None:
        """What the task still does and what it gives away; None when nothing can be given. On any thread."""
        return None

    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        return 0.0


class GivenPieces(Pieces):
    """Bundles from anywhere."""

    def __init__(self, bundles: Iterable[Bundle]) -> None:
        self._bundles = bundles

    def bundles(self) -> Iterator[Bundle]:
        yield from self._bundles


class BlockPieces(Pieces):
    """The elements of blocks."""

    def __init__(self, work: Blocks) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._refs = list(work.refs)
        self._next = 0

    def bundles(self) -> Iterator[Bundle]:
        decode = pairs_of if self._work.keyed else elements_of
        while True:
            with self._lock:
                if self._next >= len(self._refs):
                    return
                ref = self._refs[self._next]
                self._next += 1
            yield decode(read_block(ref))

    def split(self) -> tuple[Work, Work] | None:
        with self._lock:
            left = len(self._refs) - self._next
            if left < 1 or self._work.together:
                return None
            keep = len(self._refs) - (left + 1) // 2
            given, self._refs = self._refs[keep:], self._refs[:keep]
            step = self._work.step
            return Blocks(step, tuple(self._refs)), Blocks(step, tuple(given))

    def fraction(self) -> float:
        return self._next / max(1, len(self._refs))


class SourcePieces(Pieces):
    """Parts of a bounded source, read one after the other."""

    def __init__(self, step: Transform, work: Ranges, container: MetricsContainer, chunk: int) -> None:
        self._step = step
        self._id = work.step
        self._chunk = chunk
        self._container = container
        self._lock = threading.Lock()
        self._ranges = list(work.ranges)
        self._next = 0
        self._tracker: Any = None
        self._unsplittable = 0

    def bundles(self) -> Iterator[Bundle]:
        collected: list[Bundle] = []
        outputs = Outputs(GlobalWindows(), {"out": collected.append}, None, self._step.label)
        batches = self._batches()
        while True:
            previous = set_current(self._container)
            try:
                values = next(batches, None)
            except BaseException as error:
                note_failure(error, self._step.label)
                raise
            finally:
                set_current(previous)
            if values is None:
                return
            outputs.send(Bundle(values))  # a source may give TimestampedValues and WindowedValues
            yield from collected
            collected.clear()

    def _batches(self) -> Iterator[list[Any]]:
        while True:
            with self._lock:
                self._tracker = None
                if self._next >= len(self._ranges):
                    return
                part = self._ranges[self._next]
                self._next += 1
                source = source_of(self._step, part.source)
                tracker = self._tracker = source.get_range_tracker(part.start, part.stop)
            read_batches = getattr(source, "read_batches", None)
            if read_batches is not None:
                yield from filter(None, read_batches(tracker, self._chunk))
            else:
                records = iter(source.read(tracker))
                while values := list(islice(records, self._chunk)):
                    yield values

    def split(self) -> tuple[Work, Work] | None:
        with self._lock:
            left = len(self._ranges) - self._next
            if left:
                keep = len(self._ranges) - (left + 1) // 2
                given, self._ranges = self._ranges[keep:], self._ranges[:keep]
                return Ranges(self._id, tuple(self._ranges)), Ranges(self._id, tuple(given))
            return self._split_part()

    def _split_part(self) -> tuple[Work, Work] | None:
        """Halves what is left of the part that is being read."""
        tracker = self._tracker
        if tracker is None:
            return None
        current = self._ranges[-1]
        start, stop = tracker.start_position(), tracker.stop_position()
        try:
            consumed = tracker.fraction_consumed()
            position = tracker.position_at_fraction(consumed + (1 - consumed) / 2)
            split = tracker.try_split(position)
        except Exception:
            return None  # what cannot say where it is, or has no middle, is read to its end by one worker
        if split is None:
            return None
        position, fraction = split
        kept = Range(current.source, start, position, current.weight * fraction)
        given = Range(current.source, position, stop, current.weight * (1 - fraction))
        self._ranges[-1] = kept
        return Ranges(self._id, tuple(self._ranges)), Ranges(self._id, (given,))

    def fraction(self) -> float:
        with self._lock:
            count = len(self._ranges)
            if not count:
                return 1.0
            inside = 1.0
            if self._tracker is not None:
                try:
                    inside = float(self._tracker.fraction_consumed())
                except Exception:
                    inside = 0.0  # for show only
            return min(1.0, (self._next - 1 + inside) / count)


def source_of(step: Transform, payload: bytes = b"") -> Any:
    """The source of a read step, or one of its splits."""
    if payload:
        return cloudpickle.loads(payload)
    loaded = cloudpickle.loads(step.payload)
    source = CreatedSource.of(loaded) if is_created(step) else loaded
    if not source.is_bounded():
        raise NotSupportedError(
            f"step {step.label!r} reads an unbounded source, which this version's runners do not have yet"
        )
    return source


class Feed:
    """Hands a task's elements to the main thread in portions, and to the control thread what is to be given away."""

    def __init__(self, pieces: Pieces, divisible: bool = True) -> None:
        self._pieces = pieces
        self._bundles = pieces.bundles()
        self._divisible = divisible
        self._lock = threading.Lock()
        self._bundle: Bundle | None = None
        self._position = self._end = 0
        self._is_open = True
        self.taken = 0

    def take(self, count: int) -> Bundle | None:
        """The next elements, `count` at most; None at the end."""
        while True:
            with self._lock:
                if self._position < self._end:
                    start = self._position
                    self._position = stop = min(start + count, self._end)
                    bundle = self._bundle
                    self.taken += stop - start
                    break
            following = next(self._bundles, None)
            with self._lock:
                if following is None:
                    self._is_open = False
                    return None
                self._bundle, self._position, self._end = following, 0, len(following)
        assert bundle is not None
        if start == 0 and stop == len(bundle):
            return bundle
        part = slice(start, stop)
        return bundle.take(bundle.values[part], part)

    def split(self, aside: Callable[[Bundle], BlockRef]) -> tuple[Work, Work] | BlockRef | None:
        """What is kept and given, or else elements at hand that `aside` has written; None when nothing can be given."""
        with self._lock:
            if not self._is_open or not self._divisible:
                return None
            halves = self._pieces.split()
            if halves is not None:
                return halves
            left = self._end - self._position
            if left < 1 or self._bundle is None:
                return None
            keep = self._end - (left + 1) // 2
            part = slice(keep, self._end)
            ref = aside(self._bundle.take(self._bundle.values[part], part))
            self._end = keep
            return ref

    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        return self._pieces.fraction()
