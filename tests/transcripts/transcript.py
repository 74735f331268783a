"""Trigger transcripts: what goes into a grouping, step by step, and the panes that come out of each.

A case is a title, facts, and steps. Facts before a file's first title hold for all its cases.

    # by twos, the rest comes when the window expires
    trigger: Repeatedly(AfterCount(2))          windows, trigger, mode, lateness, times, on_time, closing
      a1@1 b2@3        |                        elements: key, value @ seconds; a line is one bundle
      W 10             | a:1 [0,10) ...         the watermark, P the clock, WP both, END the end of time
      ? hold 9.9       |                        what the grouping says of itself

A pane is `key:values [window) TIMING index/nonspeculative flags @timestamp`; without a timestamp it is the window's last.
A dropped element is `late a1@1` or `closed a1@1`.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from hornbeam.graph.model import WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.bundle import Bundle, from_entries
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.folding import Folding
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, DELETED, END_OF_TIME
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.engine.triggered_merging import MergingTriggeredGrouping
from hornbeam.transforms import trigger, window
from hornbeam.transforms.window import FixedWindows, IntervalWindow, Sessions, WindowFn
from hornbeam.transforms.windowing import Windowing
from hornbeam.utils.timestamp import Duration, Timestamp
from hornbeam.utils.windowed_value import PaneInfoTiming

SECOND = 1_000_000
FOLDER = Path(__file__).parent


class Shifted(FixedWindows):
    """Moves outputs on by a second."""

    def get_transformed_output_time(self, window: Any, input_timestamp: Timestamp) -> Timestamp:
        return Timestamp(micros=input_timestamp.micros + SECOND)


class ShiftedSessions(Sessions):
    """The same for sessions; not the engine's own, so that its `merge` is asked."""

    get_transformed_output_time = Shifted.get_transformed_output_time


class AllInOne(Sessions):
    """All windows of a key become one, whatever is between them."""

    def __init__(self) -> None:
        super().__init__(1)

    def merge(self, merge_context: WindowFn.MergeContext) -> None:
        windows = merge_context.windows
        if len(windows) > 1:
            start = min(w.start_micros for w in windows)  # type: ignore[attr-defined]
            end = max(w.end_micros for w in windows)
            merge_context.merge(windows, IntervalWindow.from_micros(start, end))


NAMES = {**vars(trigger), **vars(window), **{c.__name__: c for c in (Shifted, ShiftedSessions, AllInOne)}}


@attrs.frozen
class Element:
    """A pair at a time; its text is what the transcript says."""

    key: str
    value: int
    micros: int
    text: str


@attrs.frozen
class Step:
    """An action: its name, its elements or operands, and what is expected of it."""

    action: str
    operands: tuple[Any, ...]
    panes: tuple[str, ...]
    dropped: tuple[tuple[str, str], ...]


@attrs.frozen
class Case:
    """One transcript."""

    title: str
    facts: dict[str, str]
    steps: tuple[Step, ...]

    def windowing(self) -> Windowing:
        """The windowing that it is about."""
        facts = self.facts
        return Windowing(
            eval(facts.get("windows", "FixedWindows(10)"), dict(NAMES)),
            eval(facts["trigger"], dict(NAMES)),
            facts.get("mode", "DISCARDING"),
            facts.get("times"),
            Duration(float(facts.get("lateness", 0))),
            on_time_behavior=facts.get("on_time", "FIRE_ALWAYS"),
            closing_behavior=facts.get("closing", "EMIT_IF_NONEMPTY"),
        )


def read_cases() -> Iterator[Case]:
    """All transcripts of the folder."""
    for path in sorted(FOLDER.glob("*.txt")):
        head, *blocks = re.split(r"^# ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        common = _facts(head.splitlines())
        for block in blocks:
            title, *lines = block.splitlines()
            facts = common | _facts([line for line in lines if not line.startswith(" ")])
            steps = tuple(_step(line) for line in lines if line.startswith(" "))
            yield Case(f"{path.stem}: {title}", facts, steps)


def _facts(lines: list[str]) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def _step(line: str) -> Step:
    action, _, expected = line.partition("|")
    name, *operands = action.split()
    outcomes = [text.strip() for text in expected.split(";") if text.strip()]
    dropped = tuple(tuple(o.split()) for o in outcomes if o.startswith(("late ", "closed ")))
    panes = tuple(o for o in outcomes if not o.startswith(("late ", "closed ")))
    if name == "?":
        return Step("?", (operands[0], " ".join(operands[1:])), (), ())
    if name in ("W", "P", "WP", "END"):
        return Step(name, tuple(_micros(seconds) for seconds in operands), panes, dropped)  # type: ignore[arg-type]
    elements = tuple(_element(text) for text in (name, *operands))
    return Step("elements", elements, panes, dropped)  # type: ignore[arg-type]


def _element(text: str) -> Element:
    key, value, seconds = re.fullmatch(r"([a-z])(\d+)@(-?[\d.]+)", text).groups()  # type: ignore[union-attr]
    return Element(key, int(value), _micros(seconds), text)


def _micros(seconds: str) -> int:
    return round(float(seconds) * SECOND)


# Driving a grouping

#: How values become the output of a key in a transcript that is run with another folding than GroupByKey's.
Outcome = Callable[[list[int]], Any]


class Drive:
    """A grouping under a case's windowing, fed step by step. With `restarts` it can be rebuilt from its snapshot."""

    #: Whether a restored head counts its entries exactly as the one before.
    counts_entries = True

    def __init__(
        self,
        case: Case,
        folding: Folding,
        space: Any,
        restarts: bool = False,
        memory_bytes_max: int = 1 << 20,
    ) -> None:
        self.memory_bytes_max = memory_bytes_max
        self._case = case
        self.windowing = case.windowing()
        self._folding = folding
        self._space = space
        self.watermark = BEGINNING_OF_TIME
        self.now = 0
        self.container = MetricsContainer("Group")
        self.emitted: list[Bundle] = []
        self.late: list[Bundle] = []
        self.snapshot: dict[Any, Any] | None = {} if restarts else None
        self._assign = WindowAssigner(self.windowing.windowfn)
        self.head = self._new_head()

    def _new_head(self) -> Any:
        strategy: WindowingStrategy = self.windowing.to_graph()
        spec = GroupingSpec(
            "Group", self.windowing.windowfn, strategy.timestamp_combiner, repr_bytes, self._folding
        )
        kind = MergingTriggeredGrouping if strategy.merging else TriggeredGrouping
        receivers = {"out": self.emitted.append, "late": self.late.append}
        head = kind(spec, self._space, self.memory_bytes_max, strategy, self.container, receivers, "late")
        if self.snapshot is not None:
            head.track_changes()
        return head

    def do(self, step: Step) -> None:
        """One step."""
        if step.action == "elements":
            self._feed(step.operands)
            return
        if step.action == "END":
            self.watermark = END_OF_TIME
        if "W" in step.action:
            self.watermark = step.operands[0]
        if "P" in step.action:
            self.now = step.operands[-1]
        self.head.advance(self.watermark, self.now)

    def _feed(self, elements: tuple[Element, ...]) -> None:
        self.head.input(0)(self.bundle(elements))

    def bundle(self, elements: tuple[Element, ...]) -> Bundle:
        """Elements in the windows of their timestamps."""
        values = [(element.key, element.value) for element in elements]
        bundle = Bundle(values, timestamps_of(elements))
        return Bundle(values, bundle.timestamps, self._assign(bundle))

    def cut(self) -> None:
        """Brings the snapshot up to date with what changed."""
        assert self.snapshot is not None
        for name, content in pickle.loads(pickle.dumps(self.head.changes())):
            if content is DELETED:
                self.snapshot.pop(name, None)
            else:
                self.snapshot[name] = content

    def restart(self) -> None:
        """Goes on with a new grouping that begins from the snapshot, updated by what changed."""
        self.cut()
        assert self.snapshot is not None
        entries = self.head.entries()
        before = (self.head.hold(), self.head.next_watermark(), self.head.next_wakeup())
        self.head = self._new_head()
        if self.watermark > BEGINNING_OF_TIME:
            self.head.advance(self.watermark, self.now)
        self.head.load(pickle.loads(pickle.dumps(list(self.snapshot.items()))))
        after = (self.head.hold(), self.head.next_watermark(), self.head.next_wakeup())
        assert after == before
        assert self.head.entries() == entries or (entries and not self.counts_entries)
        emitted = len(self.emitted)
        self.head.advance(self.watermark, self.now)
        assert len(self.emitted) == emitted, "a restored grouping fires again"

    def answer(self, question: str) -> str:
        """What the grouping says of itself."""
        head = self.head
        if question == "why":
            return head.holds()[0].reason
        number = {
            "entries": head.entries,
            "hold": head.hold,
            "next": head.next_watermark,
            "wakeup": head.next_wakeup,
        }[question]()
        if question == "entries":
            return str(number)
        return "never" if number >= NEVER else seconds_text(number)

    def counter(self, name: str) -> int:
        """A counter of the step."""
        return sum(n for key, n in self.container.counters.items() if name in str(key))


def repr_bytes(key: Any) -> bytes:
    """An encoding for keys that cannot be used as they are."""
    return repr(key).encode()


def timestamps_of(elements: tuple[Element, ...]) -> Any:
    """The timestamps as a bundle has them."""
    times = [element.micros for element in elements]
    return from_entries([None] * len(times), times, [()] * len(times), [None] * len(times)).timestamps  # type: ignore[list-item]


def seconds_text(micros: int) -> str:
    """`9.999999`, `10`."""
    return f"{micros / SECOND:.6f}".rstrip("0").rstrip(".")


def pane_texts(bundles: list[Bundle]) -> list[str]:
    """What came out, as a transcript writes it."""
    texts = []
    for bundle in bundles:
        columns = (bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list())
        for (key, output), time, (window_,), pane in zip(*columns):
            body = ",".join(map(str, output)) if isinstance(output, list) else str(output)
            timing = PaneInfoTiming.to_string(pane.timing)
            index = str(pane.index) if timing == "EARLY" else f"{pane.index}/{pane.nonspeculative_index}"
            flags = [name for name, is_ in (("first", pane.is_first), ("last", pane.is_last)) if is_]
            at = [] if time == window_.max_micros else [f"@{seconds_text(time)}"]
            texts.append(" ".join([f"{key}:{body}", window_text(window_), timing, index, *flags, *at]))
            assert (pane.nonspeculative_index == -1) == (timing == "EARLY")
    return texts


def window_text(window_: Any) -> str:
    """`[0,10)` or `global`."""
    if not isinstance(window_, IntervalWindow):
        return "global"
    return f"[{seconds_text(window_.start_micros)},{seconds_text(window_.end_micros)})"


def dropped_texts(bundles: list[Bundle]) -> list[str]:
    """The elements of the late output as a transcript writes them."""
    return [
        f"{key}{value}@{seconds_text(time)}"
        for bundle in bundles
        for (key, value), time in zip(bundle.values, bundle.timestamp_list())
    ]
