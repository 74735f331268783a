"""A head driven by hand: a clock, what it gave, and snapshots kept as a runner keeps them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle

import hornbeam as beam
from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import NEVER, ManualClock
from hornbeam.runners.engine.head import DELETED, END_OF_TIME, SourceHead
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.runners.engine.root_heads import root_head
from hornbeam.runners.engine.splittable_head import SplittableHead
from hornbeam.transforms.window import GlobalWindows

SECOND = 1_000_000


class Driven:
    """A head under a manual clock. `given` is what it gave: (value, timestamp in seconds)."""

    def __init__(self, make: Callable[[Callable[[Bundle], None]], SourceHead], start: float = 0) -> None:
        self.clock = ManualClock(int(start * SECOND))
        self.given: list[tuple[Any, float]] = []
        self.bundles: list[int] = []
        self._make = make
        self.store: dict[Any, bytes] = {}
        self.head = self._made()

    def _made(self) -> SourceHead:
        head = self._make(self._receive)
        head.setup()
        return head

    def _receive(self, bundle: Bundle) -> None:
        self.bundles.append(len(bundle))
        self.given.extend(zip(bundle.values, [stamp / SECOND for stamp in bundle.timestamp_list()]))

    @property
    def now(self) -> int:
        return self.clock.now_micros()

    @property
    def values(self) -> list[Any]:
        return [value for value, _ in self.given]

    def take(self) -> list[Any]:
        """The values given since the last call."""
        values = self.values
        self.given.clear()
        return values

    def feed(self, *elements: Any, at: float = 0) -> None:
        self.head.advance(0, self.now)
        self.head.start_bundle()
        self.head.input(0)(Bundle(list(elements), int(at * SECOND)))
        self.end_bundle()

    def end_bundle(self) -> None:
        self.head.finish_bundle()
        self.head.commit()

    def turn(self) -> bool:
        """One piece of work, as a bundle; False when nothing is ready."""
        if not self.head.is_ready(self.now):
            return False
        self.head.start_bundle()
        self.head.work(self.now)
        self.end_bundle()
        return True

    def run(self, turns_max: int = 10_000) -> int:
        """Turns until nothing is ready; how many there were."""
        for turns in range(turns_max):
            if not self.turn():
                return turns
        raise AssertionError(f"still ready after {turns_max} turns")

    def pass_time(self, seconds: float) -> None:
        """The clock moves on, by way of the moments that the head wants to be woken at; work is done as it comes."""
        until = self.now + int(seconds * SECOND)
        while True:
            self.run()
            wakeup = self.head.next_wakeup()
            assert wakeup > self.now, "the head wants to be woken at once and has nothing to do"
            if wakeup > until:
                break
            self.clock.advance(wakeup - self.now)
            self.head.advance(0, self.now)
        self.clock.advance(until - self.now)
        self.head.advance(0, self.now)
        self.run()

    def hold(self) -> float | None:
        """In seconds; None at the end of time."""
        held = self.head.hold()
        return None if held == END_OF_TIME else held / SECOND

    # Snapshots

    def snapshot(self) -> None:
        """Takes over the changes, pickled, as a runner does."""
        for name, content in self.head.changes():
            assert name[0] is None
            if content is DELETED:
                del self.store[name]  # a head tells the end only of what it has told before
            else:
                self.store[name] = pickle.dumps(content)

    def restore(self) -> None:
        """Another head goes on from the snapshot; the old one is forgotten as a killed process is."""
        self.head = self._made()
        self.head.load([(name, pickle.loads(content)) for name, content in self.store.items()])
        self.head.track_changes()

    def wakes(self) -> float | None:
        """When the head wants to be woken, in seconds."""
        wakeup = self.head.next_wakeup()
        return None if wakeup == NEVER else wakeup / SECOND


def splittable(dofn: beam.DoFn, start: float = 0, **settings: Any) -> Driven:
    """A SplittableHead over the DoFn."""

    def make(receive: Callable[[Bundle], None]) -> SourceHead:
        head = SplittableHead("Step", None, {"out": receive})
        head.outputs = Outputs(GlobalWindows(), {"out": receive}, "out", "Step")
        head.prepare_dofn(dofn.signature(), (), {}, {})
        for name, value in settings.items():
            setattr(head, name, value)
        return head

    return Driven(make, start)


def read(source: Any, start: float = 0, spec: dict[str, Any] | None = None, **settings: Any) -> Driven:
    """The head of a Read of the source."""
    step = Transform(
        label="Read",
        urn=urns.READ,
        spec={"bounded": source.is_bounded(), **(spec or {})},
        payload=cloudpickle.dumps(source),
    )

    def make(receive: Callable[[Bundle], None]) -> SourceHead:
        head = root_head(step, None, {"out": receive})
        for name, value in settings.items():
            setattr(head, name, value)
        return head

    return Driven(make, start)
