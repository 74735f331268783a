"""The reference interpreter: what a graph means, one element at a time.

It is the oracle of the property tests, so it is written to be read, not to be fast: every element is a
WindowedValue, every pcollection a list of them, and no code is shared with the runners. It knows bounded
pipelines without state, timers or splittable DoFns, whose windows fire once, at their end; for anything else
it raises Unsupported.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cloudpickle
from reference_dofn import LivingDoFn, Output, Unsupported, meaning

from hornbeam.coders import coders
from hornbeam.graph import urns
from hornbeam.graph.model import Graph, Spec, Transform
from hornbeam.pvalue import EmptySideInput
from hornbeam.transforms.pardo import SideInputRef
from hornbeam.transforms.window import (
    BoundedWindow,
    GlobalWindow,
    GlobalWindows,
    Sessions,
    WindowFn,
    windowfn_from_function,
)
from hornbeam.transforms.window import TimestampCombiner as At
from hornbeam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming, WindowedValue

Elements = list[WindowedValue[Any]]

#: The pane of a window that fires once.
ONLY_PANE = PaneInfo(True, True, PaneInfoTiming.ON_TIME, 0, 0)


def interpret(graph: Graph, bundle_size: int = 0) -> dict[str, Elements]:
    """The elements of each pcollection, by its id. A bundle has `bundle_size` elements, all of them if 0."""
    interpreter = _Interpreter(graph, bundle_size)
    for transform in _in_order(graph):
        interpreter.run(transform)
    return interpreter.elements


def exploded(elements: Elements) -> Elements:
    """The same elements, each once for each of its windows."""
    return [WindowedValue(e.value, e.timestamp, (w,), e.pane_info) for e in elements for w in e.windows]


def _in_order(graph: Graph) -> Iterator[Transform]:
    """The primitive transforms, each after those whose outputs it reads."""
    waiting = [transform for _, transform in graph.leaves()]
    known: set[str] = set()
    while waiting:
        ready = [t for t in waiting if known.issuperset(t.inputs.values())]
        if not ready:
            raise ValueError(f"Nothing makes the inputs of {[t.label for t in waiting]}.")
        for transform in ready:
            yield transform
            known.update(transform.outputs.values())
        waiting = [t for t in waiting if t not in ready]


class _Interpreter:
    """The elements found so far, and what each kind of transform makes of its inputs."""

    def __init__(self, graph: Graph, bundle_size: int) -> None:
        self.graph = graph
        self.bundle_size = bundle_size
        self.elements: dict[str, Elements] = {}

    def run(self, transform: Transform) -> None:
        """Find the elements of the transform's outputs."""
        kinds: dict[str, Callable[[Transform], dict[str, Elements]]] = {
            urns.IMPULSE: self.impulse,
            urns.READ: self.read,
            urns.FLATTEN: self.flatten,
            urns.RESHUFFLE: self.flatten,
            urns.WINDOW_INTO: self.window_into,
            urns.PARDO: self.par_do,
            urns.GROUP_BY_KEY: self.group_by_key,
            urns.COMBINE_GROUPED_VALUES: self.combine_grouped_values,
        }
        if transform.urn not in kinds:
            raise Unsupported(f"{transform.label}: the reference interpreter does not know {transform.urn}.")
        for tag, elements in kinds[transform.urn](transform).items():
            self.elements[transform.outputs[tag]] = elements

    def input(self, transform: Transform) -> Elements:
        """The elements of all main inputs."""
        return [element for id_ in transform.main_inputs().values() for element in self.elements[id_]]

    def window_fn(self, pcollection: str) -> WindowFn:
        """The window function of a pcollection."""
        windowing = self.graph.windowings[self.graph.pcollections[pcollection].windowing]
        return windowfn_from_function(windowing.window_fn)

    def key_coder(self, pcollection: str) -> coders.Coder:
        """The coder of the keys of a pcollection of pairs."""
        found = self.coder(self.graph.pcollections[pcollection].coder)
        return found.key_coder() if found.is_kv_coder() else found

    def coder(self, id_: str) -> coders.Coder:
        """The coder of that id in the graph."""
        coder = self.graph.coders[id_]
        components = tuple(self.coder(component) for component in coder.components)
        return coders.coder_from_function(coder.urn, components, coder.spec, coder.payload)

    # One method for each kind of primitive.

    def impulse(self, transform: Transform) -> dict[str, Elements]:
        """One empty element at the beginning of time."""
        return {"out": [WindowedValue(b"", MIN_TIMESTAMP, (GlobalWindow(),))]}

    def read(self, transform: Transform) -> dict[str, Elements]:
        """All that the source has."""
        source = cloudpickle.loads(transform.payload)
        if not transform.spec.get("bounded", True):
            raise Unsupported(f"{transform.label}: the reference interpreter reads bounded sources only.")
        start = WindowedValue(None, MIN_TIMESTAMP, (GlobalWindow(),))
        values = source.read(source.get_range_tracker(None, None))
        return {"out": [meaning(value, start, GlobalWindows())[1] for value in values]}

    def flatten(self, transform: Transform) -> dict[str, Elements]:
        """The elements as they are."""
        return {"out": self.input(transform)}

    def window_into(self, transform: Transform) -> dict[str, Elements]:
        """Each element, once for each of its windows, in the windows that the window function gives it."""
        assign = self.window_fn(transform.outputs["out"]).assign
        return {
            "out": [
                WindowedValue(
                    e.value,
                    e.timestamp,
                    tuple(assign(WindowFn.AssignContext(e.timestamp, e.value, e.windows[0]))),
                    e.pane_info,
                )
                for e in exploded(self.input(transform))
            ]
        }

    def par_do(self, transform: Transform) -> dict[str, Elements]:
        """All the calls that a DoFn's life consists of."""
        payload = cloudpickle.loads(transform.payload)
        outputs: dict[str, Elements] = {tag: [] for tag in transform.outputs}

        def emit(results: Iterable[Output]) -> None:
            for tag, element in results:
                if tag is None or tag == transform.spec.get("main"):
                    tag = "out"
                if tag in outputs:
                    outputs[tag].append(element)

        elements = self.input(transform)
        (input_id,) = transform.main_inputs().values()
        dofn = LivingDoFn(payload.dofn, transform.label, self.window_fn(input_id))
        if transform.side_inputs or dofn.observes_windows:
            elements = exploded(elements)
        dofn.setup()
        for bundle in _bundles(elements, self.bundle_size):
            emit(dofn.start_bundle())
            for element in bundle:
                args, kwargs = self.arguments(transform, payload, element)
                emit(dofn.process(element, args, kwargs))
            emit(dofn.finish_bundle())
        dofn.teardown()
        return outputs

    def group_by_key(self, transform: Transform) -> dict[str, Elements]:
        """For each key and window the key and its values. Keys are the same if their encodings are."""
        (input_id,) = transform.main_inputs().values()
        strategy = self.graph.windowings[self.graph.pcollections[input_id].windowing]
        if not _fires_once(strategy.trigger):
            raise Unsupported(
                f"{transform.label}: the reference interpreter fires each window once, at its end."
            )
        window_fn, key_coder = self.window_fn(input_id), self.key_coder(input_id)
        by_key: dict[bytes, Elements] = collections.defaultdict(list)
        for element in exploded(self.elements[input_id]):
            by_key[key_coder.encode(element.value[0])].append(element)
        out: Elements = []
        for key, elements in by_key.items():
            merged = _merged(window_fn, {e.windows[0] for e in elements})
            by_window: dict[BoundedWindow, Elements] = collections.defaultdict(list)
            for element in elements:
                by_window[merged[element.windows[0]]].append(element)
            for window, members in by_window.items():
                timestamp = _output_timestamp(
                    strategy.timestamp_combiner, window_fn, window, [e.timestamp for e in members]
                )
                pair = key_coder.decode(key), [e.value[1] for e in members]
                out.append(WindowedValue(pair, timestamp, (window,), ONLY_PANE))
        return {"out": out}

    def combine_grouped_values(self, transform: Transform) -> dict[str, Elements]:
        """Each key with the combination of its values."""
        payload = cloudpickle.loads(transform.payload)
        around: tuple[Any, Any] = ((), {}) if transform.side_inputs else (payload.args, payload.kwargs)
        payload.fn.setup(*around[0], **around[1])
        out: Elements = []
        for element in exploded(self.input(transform)):
            key, values = element.value
            args, kwargs = self.arguments(transform, payload, element)
            out.append(element.with_value((key, payload.fn.apply(values, *args, **kwargs))))
        payload.fn.teardown(*around[0], **around[1])
        return {"out": out}

    # Side inputs.

    def arguments(
        self, transform: Transform, payload: Any, element: WindowedValue[Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        """The author's further arguments, with each side input as the element's window sees it."""

        def value(argument: Any) -> Any:
            if isinstance(argument, SideInputRef):
                return self.side_input(transform, argument.tag, payload, element.windows[0])
            return argument

        return [value(a) for a in payload.args], {name: value(a) for name, a in payload.kwargs.items()}

    def side_input(self, transform: Transform, tag: str, payload: Any, main_window: BoundedWindow) -> Any:
        """The side input of that tag for elements in `main_window`."""
        side, id_ = transform.side_inputs[tag], transform.inputs[tag]
        if side.window_mapping:
            window = cloudpickle.loads(side.window_mapping)(main_window)
        else:
            window = _side_window(self.window_fn(id_), main_window)
        values = [e.value for e in exploded(self.elements[id_]) if e.windows[0] == window]
        match side.view:
            case "AsIter" | "AsList":
                return values
            case "AsDict":
                return dict(values)
            case "AsMultiMap":
                multimap = collections.defaultdict(list)
                for key, item in values:
                    multimap[key].append(item)
                return multimap
            case "AsSingleton" if len(values) == 1:
                return values[0]
            case "AsSingleton" if not values:
                return payload.side_defaults.get(tag, EmptySideInput())
            case "AsSingleton":
                raise ValueError(f"{transform.label}: a singleton has {len(values)} values in {window}.")
        raise Unsupported(f"{transform.label}: the reference interpreter knows no view {side.view}.")


def _fires_once(trigger: Spec) -> bool:
    """Whether bounded data under the trigger fires once: when the watermark passes the end of the window."""
    if trigger["type"] == "repeatedly":
        return _fires_once(trigger["underlying"])
    return trigger["type"] in ("default", "after_watermark") and not trigger.get("early")


def _bundles(elements: Elements, size: int) -> Iterator[Elements]:
    """The elements in lists of `size`; all in one list if 0. No bundle is empty."""
    size = size or max(len(elements), 1)
    for start in range(0, len(elements), size):
        yield elements[start : start + size]


def _side_window(window_fn: WindowFn, main_window: BoundedWindow) -> BoundedWindow:
    """The default mapping: where the side input's window function puts the end of the main window."""
    if isinstance(window_fn, Sessions):
        raise ValueError("Sessions cannot be the windows of a side input.")
    return list(window_fn.assign(WindowFn.AssignContext(main_window.max_timestamp())))[-1]


class _Merges(WindowFn.MergeContext):
    """Keeps what became of each window."""

    def __init__(self, windows: Iterable[BoundedWindow]) -> None:
        super().__init__(windows)
        self.became = {window: window for window in self.windows}

    def merge(self, to_be_merged: Iterable[BoundedWindow], merge_result: BoundedWindow) -> None:
        self.became.update(dict.fromkeys(to_be_merged, merge_result))


def _merged(window_fn: WindowFn, windows: Iterable[BoundedWindow]) -> dict[BoundedWindow, BoundedWindow]:
    """For each window the one it ends up in: merging goes on until nothing changes."""
    became = {window: window for window in windows}
    while window_fn.is_merging():
        context = _Merges(sorted(set(became.values())))
        window_fn.merge(context)
        step = {window: context.became[current] for window, current in became.items()}
        if step == became:
            break
        became = step
    return became


def _output_timestamp(
    combiner: str, window_fn: WindowFn, window: BoundedWindow, timestamps: list[Timestamp]
) -> Timestamp:
    """The timestamp of a group."""
    if combiner == At.OUTPUT_AT_EOW:
        return window.max_timestamp()
    if combiner == At.OUTPUT_AT_EARLIEST:
        return min(timestamps)
    if combiner == At.OUTPUT_AT_LATEST:
        return max(timestamps)
    if combiner == At.OUTPUT_AT_EARLIEST_TRANSFORMED:
        return min(window_fn.get_transformed_output_time(window, t) for t in timestamps)
    raise Unsupported(f"The reference interpreter knows no timestamp combiner {combiner}.")
