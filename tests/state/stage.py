"""A stateful step driven by hand: elements, watermark and clock as the test says, outputs as rows."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.bundle import Bundle, from_entries
from hornbeam.runners.engine.clock import ManualClock
from hornbeam.runners.engine.head import DELETED, END_OF_TIME, PickledColumns, columns_of, feed
from hornbeam.runners.engine.keyed_records import KeyedInput
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.stateful import StatefulOperator
from hornbeam.transforms.dofn_validation import validate_dofn
from hornbeam.transforms.window import FixedWindows, GlobalWindows
from hornbeam.utils.timestamp import Timestamp, micros_of
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN

SECOND = 1_000_000
FIXED = FixedWindows(10)
GLOBAL = GlobalWindows()


class Stage:
    """One step as a stage's head. Times are in seconds. `rows` takes what comes out: (value, timestamp, window start)."""

    def __init__(
        self,
        dofn: Any,
        window_fn: Any = GLOBAL,
        lateness: float = 0,
        chunk: int = 0,
        space: TemporarySpace | None = None,
        memory_bytes_max: int = 1,
    ) -> None:
        """With a `space`, state that is not in use goes there past the limit."""
        self.clock = ManualClock(1000 * SECOND)
        self.watermark = -END_OF_TIME
        self.registry = MetricsRegistry()
        self.bundles: list[Bundle] = []
        self.tagged: list[Any] = []
        receivers = {"out": self.bundles.append, "side": lambda bundle: self.tagged.extend(bundle.values)}
        signature = validate_dofn(dofn)
        self.head = StatefulOperator("Step", self.registry.container("Step"), receivers)
        self.head.outputs = Outputs(window_fn, receivers, None, "Step", ("side",))
        self.head.prepare_state(signature, KeyedInput(encode_key, micros_of(lateness)))
        if space is not None:
            self.head.limit_memory(space, memory_bytes_max)
        self.head.prepare_dofn(signature, (), {}, {})
        self._assign = WindowAssigner(window_fn)
        self._chunk = chunk
        self.head.setup()

    def bundle(self, *elements: Any) -> Bundle:
        """Elements, each (key, value) at timestamp 0, or ((key, value), timestamp), in the windows of their timestamps."""
        pairs = [e if isinstance(e[0], tuple) else (e, 0) for e in elements]
        stamps = [micros_of(stamp) for _, stamp in pairs]
        plain = from_entries(
            [value for value, _ in pairs], stamps, [()] * len(pairs), [PANE_INFO_UNKNOWN] * len(pairs)
        )
        return Bundle(plain.values, plain.timestamps, self._assign(plain), plain.panes)

    def feed(self, *elements: Any) -> list[Any]:
        """Gives the step elements; answers what comes out."""
        self.head.start_bundle()
        bundle = self.bundle(*elements)
        for part in bundle.chunks(self._chunk) if self._chunk else [bundle]:
            feed(self.head, part)
        self.head.finish_bundle()
        return self.taken()

    def advance(self, watermark: float | None = None, clock: float = 0) -> list[Any]:
        """Moves the watermark to a time, the clock on by some seconds; answers what comes out."""
        if watermark is not None:
            self.watermark = micros_of(watermark)
        self.clock.advance(int(clock * SECOND))
        self.head.start_bundle()
        self.head.advance(self.watermark, self.clock.now_micros())
        self.head.finish_bundle()
        return self.taken()

    def end(self) -> list[Any]:
        """The end of time."""
        self.watermark = END_OF_TIME
        return self.advance()

    def taken(self) -> list[Any]:
        """What came out since the last call: (value, timestamp, start of its window, None for the global one)."""
        rows = []
        for bundle in self.bundles:
            for value, stamp, windows in zip(bundle.values, bundle.timestamp_list(), bundle.window_list()):
                assert len(windows) == 1
                start = getattr(windows[0], "start_micros", None)
                rows.append((value, stamp / SECOND, None if start is None else start / SECOND))
        self.bundles.clear()
        return rows

    def values(self, rows: list[Any]) -> list[Any]:
        """The values of rows."""
        return [value for value, _, _ in rows]

    def dropped_late(self) -> int:
        """What the counter says."""
        return sum(self.registry.container("Step").counters.values())


def encode_key(key: Any) -> bytes:
    """The encoded form of a test's key: its type tells, too."""
    return f"{type(key).__name__}:{key!r}".encode()


class Store:
    """Where the entries of a head's snapshots go, pickled, as a backend would keep them."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.written = 0

    def take(self, head: StatefulOperator) -> None:
        """One more snapshot."""
        for name, content in head.changes():
            self.written += 1
            if content is DELETED:
                self.entries.pop(pickle.dumps(name), None)
            else:
                self.entries[pickle.dumps(name)] = pickle.dumps(content)

    def load_into(self, head: StatefulOperator) -> None:
        """All entries, into a new head of the same step."""
        head.load_pickled(
            pickled(((pickle.loads(name), pickle.loads(data)) for name, data in self.entries.items()))
        )


def pickled(entries: Iterable[tuple[Any, Any]]) -> list[PickledColumns]:
    """Entries as a checkpoint gives them."""
    return [
        PickledColumns(list(part.keys), part.rest, list(map(pickle.dumps, part.contents)))
        for part in columns_of(entries)
    ]


def at(seconds: float) -> Timestamp:
    """A timestamp."""
    return Timestamp(seconds)
