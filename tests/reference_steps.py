"""The steps of the streaming reference interpreter that are neither roots nor stateful DoFns, and their side inputs.

A step takes elements, is told when time has moved, and says which timestamps its outputs may still get. What it gives are
(tag, element) pairs; the tag of the main output is `out`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cloudpickle
from reference_dofn import LeftOpen, LivingDoFn, Output, Unsupported
from reference_panes import BEGINNING_OF_TIME, KeyWindows, Times

from hornbeam.coders import coders
from hornbeam.graph.model import Graph, Transform, WindowingStrategy
from hornbeam.pvalue import EmptySideInput
from hornbeam.transforms.pardo import SideInputRef
from hornbeam.transforms.window import BoundedWindow, WindowFn, windowfn_from_function
from hornbeam.utils.windowed_value import WindowedValue

Element = WindowedValue[Any]
Elements = Sequence[Element]


def exploded(elements: Elements) -> list[Element]:
    """The same elements, each once for each of its windows."""
    return [WindowedValue(e.value, e.timestamp, (w,), e.pane_info) for e in elements for w in e.windows]


class Step:
    """A primitive transform at work. `times.watermark` is its input watermark."""

    def __init__(self, graph: Graph, transform: Transform) -> None:
        self.graph = graph
        self.transform = transform
        self.times = Times()
        self.drops: dict[str, int] = {}

    def take(self, elements: Elements) -> Iterator[Output]:
        """Elements have come at one of the main inputs."""
        raise NotImplementedError

    def take_side(self, tag: str, elements: Elements, times: Times) -> None:
        """Elements have come at a side input, and its times have become `times`."""
        raise Unsupported(f"{self.transform.label} takes no side input.")

    def advance(self, before: int) -> Iterator[Output]:
        """`times` have moved; `before` is the processing time of the last call."""
        return iter(())

    def holds(self) -> list[int]:
        """The timestamps, in microseconds, that outputs for what is kept may get."""
        return []

    def dropped(self, reason: str, element: Element) -> Iterator[Output]:
        """Count an element that is dropped; give it to the output for such ones, if there is one."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        late_tag = self.transform.spec.get("late_tag")
        if late_tag in self.transform.outputs:
            yield late_tag, element

    # What the graph says.

    def windowing(self, pcollection: str) -> WindowingStrategy:
        """The windowing strategy of a pcollection."""
        return self.graph.windowings[self.graph.pcollections[pcollection].windowing]

    def window_fn(self, pcollection: str) -> WindowFn:
        """The window function of a pcollection."""
        return windowfn_from_function(self.windowing(pcollection).window_fn)

    def main_input(self) -> str:
        """The one main input."""
        (id_,) = self.transform.main_inputs().values()
        return id_

    def key_coder(self, pcollection: str) -> coders.Coder:
        """The coder of the keys of a pcollection of pairs."""
        found = self.coder(self.graph.pcollections[pcollection].coder)
        return found.key_coder() if found.is_kv_coder() else found

    def coder(self, id_: str) -> coders.Coder:
        """The coder of that id in the graph."""
        coder = self.graph.coders[id_]
        components = tuple(self.coder(component) for component in coder.components)
        return coders.coder_from_function(coder.urn, components, coder.spec, coder.payload)


class Flatten(Step):
    """Gives elements as they are."""

    def take(self, elements: Elements) -> Iterator[Output]:
        for element in elements:
            yield "out", element


class WindowInto(Step):
    """Gives each element, once for each of its windows, in the windows that the window function assigns."""

    def take(self, elements: Elements) -> Iterator[Output]:
        assign = self.window_fn(self.transform.outputs["out"]).assign
        for e in exploded(elements):
            windows = tuple(assign(WindowFn.AssignContext(e.timestamp, e.value, e.windows[0])))
            yield "out", WindowedValue(e.value, e.timestamp, windows, e.pane_info)


class GroupByKey(Step):
    """Gives panes of (key, values). Keys are the same if their encodings are."""

    def __init__(self, graph: Graph, transform: Transform) -> None:
        super().__init__(graph, transform)
        self.keys: dict[bytes, KeyWindows] = {}

    def take(self, elements: Elements) -> Iterator[Output]:
        coder, strategy = self.key_coder(self.main_input()), self.windowing(self.main_input())
        for element in exploded(elements):
            key, value = element.value
            encoded, window = coder.encode(key), element.windows[0]
            windows = self.keys.setdefault(encoded, KeyWindows(strategy, self.times))
            refusal = windows.refusal(window)
            self.count_forgotten(windows)
            if refusal is not None:
                yield from self.dropped(refusal, element)
            else:
                yield from self.panes(encoded, windows.add(value, element.timestamp.micros, window))

    def count_forgotten(self, windows: KeyWindows) -> None:
        """Elements that had been taken in, and will be given out no more: only counted."""
        if windows.forgotten:
            self.drops["dropped_closed"] = self.drops.get("dropped_closed", 0) + windows.forgotten
            windows.forgotten = 0

    def advance(self, before: int) -> Iterator[Output]:
        """Look at all windows, in the order of their ends, then of the keys."""
        every = [(window, key) for key, windows in self.keys.items() for window in windows.states]
        for window, key in sorted(every, key=lambda one: one[0].end_micros):
            yield from self.panes(key, self.keys[key].advance(window, before))

    def panes(self, encoded: bytes, panes: Iterable[Element]) -> Iterator[Output]:
        """With their key."""
        for pane in panes:
            yield "out", pane.with_value((self.key_coder(self.main_input()).decode(encoded), pane.value))

    def holds(self) -> list[int]:
        return [hold for windows in self.keys.values() for hold in windows.holds()]


class SideView:
    """What a step sees of a side input: for each window the latest pane of the side input grouped as a whole."""

    def __init__(self, step: Step, tag: str, payload: Any) -> None:
        self.step, self.tag, self.payload = step, tag, payload
        self.side = step.transform.side_inputs[tag]
        self.strategy = step.windowing(step.transform.inputs[tag])
        self.window_fn = windowfn_from_function(self.strategy.window_fn)
        self.times = Times()
        self.windows = KeyWindows(self.strategy, self.times)
        self.contents: dict[BoundedWindow, list[Any]] = {}
        #: Windows that end before are forgotten: no element that is not late needs them.
        self.forgotten = BEGINNING_OF_TIME
        #: Windows in which a pane has taken the place of another one in this turn.
        self.replaced: set[BoundedWindow] = set()

    def take(self, elements: Elements, times: Times) -> None:
        """Elements have come, then time has moved to `times`."""
        self.replaced.clear()
        for element in exploded(elements):
            window = element.windows[0]
            refusal = self.windows.refusal(window)
            if refusal is not None:
                self.step.drops[refusal] = self.step.drops.get(refusal, 0) + 1
            else:
                self.show(self.windows.add(element.value, element.timestamp.micros, window))
        before, self.times.now, self.times.watermark = self.times.now, times.now, times.watermark
        for window in sorted(self.windows.states, key=lambda window: window.end_micros):
            self.show(self.windows.advance(window, before))

    def show(self, panes: Iterable[Element]) -> None:
        """Each pane takes the place of the one before."""
        for pane in panes:
            if pane.windows[0] in self.contents:
                self.replaced.add(pane.windows[0])
            self.contents[pane.windows[0]] = pane.value

    def side_window(self, main_window: BoundedWindow) -> BoundedWindow:
        """The window that goes with one of the main input: by default the one that its end lies in."""
        if self.side.window_mapping:
            window: BoundedWindow = cloudpickle.loads(self.side.window_mapping)(main_window)
            return window
        return list(self.window_fn.assign(WindowFn.AssignContext(main_window.max_timestamp())))[-1]

    def is_ready(self, main_window: BoundedWindow) -> bool:
        """Whether the window has ended; under a trigger other than the default one also when a pane has fired."""
        window = self.side_window(main_window)
        if self.windows.has_ended(window):
            return True
        return self.strategy.trigger["type"] != "default" and window in self.contents

    def value(self, main_window: BoundedWindow) -> Any:
        """The view of the window's content."""
        values = self.contents.get(self.side_window(main_window), [])
        match self.side.view:
            case "AsIter" | "AsList":
                return list(values)
            case "AsDict":
                return dict(values)
            case "AsMultiMap":
                return {key: [v for k, v in values if k == key] for key, _ in values}
            case "AsSingleton" if len(values) == 1:
                return values[0]
            case "AsSingleton" if not values:
                return self.payload.side_defaults.get(self.tag, EmptySideInput())
            case "AsSingleton":
                raise ValueError(f"{self.step.transform.label}: a singleton has {len(values)} values.")
        raise Unsupported(f"The reference interpreter knows no view {self.side.view}.")


class StepWithSideInputs(Step):
    """A step with a function of the author's. Elements wait until the side inputs of their window are ready."""

    def __init__(self, graph: Graph, transform: Transform) -> None:
        super().__init__(graph, transform)
        self.payload = cloudpickle.loads(transform.payload)
        self.views = {tag: SideView(self, tag, self.payload) for tag in transform.side_inputs}
        self.waiting: list[Element] = []
        self.lateness = self.windowing(self.main_input()).allowed_lateness_micros

    def take_side(self, tag: str, elements: Elements, times: Times) -> None:
        self.views[tag].take(elements, times)

    def take(self, elements: Elements) -> Iterator[Output]:
        for element in exploded(elements) if self.views else elements:
            if any(view.side_window(element.windows[0]) in view.replaced for view in self.views.values()):
                raise LeftOpen(
                    f"{self.transform.label}: an element comes in the turn of a side input's second pane."
                )
            if any(self.is_forgotten(view, element) for view in self.views.values()):
                yield from self.dropped("dropped_late", element)
            else:
                self.waiting.append(element)
        yield from self.work()

    def advance(self, before: int) -> Iterator[Output]:
        yield from self.work()
        passed = min([self.times.watermark, *StepWithSideInputs.holds(self)]) - self.lateness
        for view in self.views.values():
            needed = [view.side_window(element.windows[0]).max_micros for element in self.waiting]
            view.forgotten = max(view.forgotten, min([passed, *needed]))

    def is_forgotten(self, view: SideView, element: Element) -> bool:
        """Whether the element's side window ended so long ago that no window of the main input that is not late needs it.

        With a mapping of the author's nobody knows.
        """
        default = not view.side.window_mapping
        return default and view.side_window(element.windows[0]).max_micros < view.forgotten

    def work(self) -> Iterator[Output]:
        """Process what need not wait any more, in the order in which it came."""
        ready = [e for e in self.waiting if all(v.is_ready(e.windows[0]) for v in self.views.values())]
        self.waiting = [e for e in self.waiting if not any(e is one for one in ready)]
        if ready:
            yield from self.process(ready)

    def process(self, elements: Elements) -> Iterator[Output]:
        """Call the function for elements whose side inputs are ready."""
        raise NotImplementedError

    def holds(self) -> list[int]:
        return [element.timestamp.micros for element in self.waiting]

    def arguments(self, element: Element) -> tuple[list[Any], dict[str, Any]]:
        """The author's further arguments, with each side input as the element's window sees it."""

        def value(argument: Any) -> Any:
            if isinstance(argument, SideInputRef):
                return self.views[argument.tag].value(element.windows[0])
            return argument

        payload = self.payload
        return [value(a) for a in payload.args], {name: value(a) for name, a in payload.kwargs.items()}


class CombineGroupedValues(StepWithSideInputs):
    """Gives each key with the combination of its values."""

    def process(self, elements: Elements) -> Iterator[Output]:
        around: tuple[Any, Any] = ((), {}) if self.views else (self.payload.args, self.payload.kwargs)
        self.payload.fn.setup(*around[0], **around[1])
        for element in exploded(elements):
            key, values = element.value
            args, kwargs = self.arguments(element)
            yield "out", element.with_value((key, self.payload.fn.apply(values, *args, **kwargs)))
        self.payload.fn.teardown(*around[0], **around[1])


class ParDo(StepWithSideInputs):
    """Calls a DoFn without state, a bundle at a time."""

    def __init__(self, graph: Graph, transform: Transform) -> None:
        super().__init__(graph, transform)
        self.dofn = self.living()
        self.dofn.setup()

    def living(self) -> LivingDoFn:
        """The DoFn."""
        return LivingDoFn(self.payload.dofn, self.transform.label, self.window_fn(self.main_input()))

    def process(self, elements: Elements) -> Iterator[Output]:
        yield from self.tagged(self.dofn.start_bundle())
        for element in exploded(elements) if self.dofn.observes_windows else elements:
            args, kwargs = self.arguments(element)
            yield from self.tagged(self.dofn.process(element, args, kwargs))
        yield from self.tagged(self.dofn.finish_bundle())

    def tagged(self, results: Iterable[Output]) -> Iterator[Output]:
        """With the tags that the graph has; outputs that nobody asked for are gone."""
        for tag, element in results:
            if tag is None or tag == self.transform.spec.get("main"):
                tag = "out"
            if tag in self.transform.outputs:
                yield tag, element
