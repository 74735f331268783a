"""A stage of a stream at work: its head, what waits before it, the steps fused behind it, and how far its time has come.

    edge (watermark) ──┐
    edge (watermark) ──┴► gate (side inputs) ► head ► fused steps ──► edges of other stages

    input watermark  = min over edges, and of what waits at the gate
    output watermark = min(input watermark, head's hold)

A driver hands it bundles (`receiver`), moves its time (`advance`) and ends bundles (`finish_bundle`). It drives stages in
the plan's order, so that what one gives out has reached the next before that one's time moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME, Head, SourceHead
from hornbeam.runners.engine.operator import Operator, Receiver
from hornbeam.runners.engine.splittable_head import SplittableHead
from hornbeam.runners.engine.streaming_views import SideInputGate, StreamingView
from hornbeam.runners.engine.test_stream_head import TestStreamHead
from hornbeam.utils import processing_time

#: Elements after which a bundle ends when no size is given.
BUNDLE_ELEMENTS = 1 << 16


class Edge:
    """Where a pcollection enters a stage; `watermark` is how far its time has come."""

    __slots__ = ("pcollection", "source", "watermark")

    def __init__(self, pcollection: str, source: str) -> None:
        self.pcollection = pcollection
        #: The name of the stage that the pcollection comes from.
        self.source = source
        self.watermark = BEGINNING_OF_TIME


class StreamStage:
    """One stage. `operators` are its steps in order, the first of them the head's."""

    def __init__(
        self,
        name: str,
        operators: Mapping[str, Operator],
        entry: Callable[[int], Receiver],
        edges: list[Edge],
        views: Mapping[str, StreamingView],
        side_edges: Mapping[str, Edge],
        lateness_micros: int,
        bundle_size: int = 0,
    ) -> None:
        """`entry(i)` takes elements of the head's input i; `edges` are its main inputs, `views` its side inputs by tag."""
        self.name = name
        self.operators = operators
        first = next(iter(operators.values()))
        self.label = first.label
        #: None for a stage whose first step keeps nothing itself (it waits for side inputs, or joins several stages).
        self.head: Head | None = first if isinstance(first, Head) else None
        #: Whether the head calls a DoFn's methods; any other head's bundle is opened by what it gives.
        self._runs_user_code = isinstance(first, DoFnOperator)
        self.edges = edges
        self.side_edges = side_edges
        self.views = views
        self.input_watermark = BEGINNING_OF_TIME
        self.output_watermark = BEGINNING_OF_TIME
        self.elements = 0
        self._bundle_max = bundle_size or BUNDLE_ELEMENTS
        self._chunk = bundle_size or BUNDLE_ELEMENTS
        self._in_bundle = 0
        self._open = False
        self._entries = [entry(index) for index in range(max(1, len(edges)))]
        self.gate = (
            SideInputGate(self.label, list(views.values()), lateness_micros, first.container, self._enter)
            if views
            else None
        )

    # Elements

    def receiver(self, index: int) -> Receiver:
        """What takes the elements of an edge."""
        gate = self.gate
        if gate is None:
            return lambda bundle: self._enter(index, bundle)

        def receive(bundle: Bundle) -> None:
            self.open_bundle()
            gate.receive(index, bundle)

        return receive

    def side_receiver(self, tag: str) -> Receiver:
        """What takes the elements of a side input."""
        return self.views[tag].receive

    def _enter(self, index: int, bundle: Bundle) -> None:
        process = self._entries[index]
        for chunk in bundle.chunks(self._chunk):
            self.open_bundle()
            process(chunk)
            self.elements += len(chunk)
            self._in_bundle += len(chunk)
            if self._in_bundle >= self._bundle_max:
                self.finish_bundle()

    def work(self, now: int) -> None:
        """Lets a source do a piece of its work."""
        assert isinstance(self.head, SourceHead)
        with processing_time.at(now):
            if self._runs_user_code:
                self.open_bundle()
            self.head.work(now)

    # Bundles

    def open_bundle(self) -> None:
        """Opens a bundle where none is open."""
        if not self._open:
            self._open = True
            for operator in reversed(list(self.operators.values())):
                operator.start_bundle()

    def finish_bundle(self) -> None:
        """Ends the open bundle, if there is one."""
        if not self._open:
            return
        for operator in self.operators.values():
            operator.finish_bundle()
        self._open = False
        self._in_bundle = 0

    def commit(self) -> None:
        """What the bundles gave is durable: runs bundle finalizers, acknowledges what unbounded readers have read."""
        for operator in self.operators.values():
            operator.commit()

    def take_finalizers(self) -> list[Callable[[], None]]:
        """What is to be called once what the bundles gave so far is durable, in place of `commit`."""
        return [call for operator in self.operators.values() for call in operator.take_finalizers()]

    # Time

    def tell_time(self, now: int) -> None:
        """Processing time has come to `now`; what is handed in from here on comes then."""
        for view in self.views.values():
            view.tell_time(now)
        if self.head is not None:
            self.head.tell_time(now)

    def advance(self, now: int) -> None:
        """Takes over the watermarks of its edges, and gives out what is due."""
        with processing_time.at(now):
            self._advance(now)

    def _advance(self, now: int) -> None:
        for tag, view in self.views.items():
            view.advance(self.side_edges[tag].watermark, now)
        watermark = min((edge.watermark for edge in self.edges), default=END_OF_TIME)
        if self.gate is not None:
            self.gate.advance()
            watermark = min(watermark, self.gate.hold())
        self.input_watermark = watermark = max(watermark, self.input_watermark)
        head = self.head
        if head is not None:
            is_due = head.next_watermark() <= watermark or head.next_wakeup() <= now
            if self._runs_user_code and is_due and not isinstance(head, SourceHead):  # those have their turns
                self.open_bundle()
            head.advance(watermark, now)
            watermark = min(watermark, head.hold())
        if self.gate is not None and not (isinstance(head, SplittableHead) and head.entries()):
            self.gate.forget(watermark)
        self.output_watermark = max(self.output_watermark, watermark)

    def watermark_of(self, pcollection: str) -> int:
        """The watermark of one of its outputs."""
        if isinstance(self.head, TestStreamHead):
            return self.head.watermark_of(pcollection)
        return self.output_watermark

    def next_wakeup(self) -> int:
        """The processing time at which it next wants to be called."""
        of_views = (view.next_wakeup() for view in self.views.values())
        return min(NEVER if self.head is None else self.head.next_wakeup(), *of_views, NEVER)

    def entries(self) -> int:
        """How many things it keeps."""
        kept = 0 if self.head is None else self.head.entries()
        kept += 0 if self.gate is None else self.gate.entries()
        return kept + sum(view.entries() for view in self.views.values())

    # Life

    def setup(self) -> None:
        """Sets its steps up."""
        for operator in self.operators.values():
            operator.setup()
