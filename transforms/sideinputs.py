"""Side inputs: PCollections that a step sees whole, as an argument.

`AsSingleton`, `AsIter`, `AsList`, `AsDict` and `AsMultiMap` (in `hornbeam.pvalue`) say how; here is what the graph and
a runner make of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import attrs

from hornbeam.pvalue import (
    AsDict,
    AsIter,
    AsList,
    AsMultiMap,
    AsSideInput,
    AsSingleton,
    EmptySideInput,
)
from hornbeam.transforms.window import GlobalWindow, GlobalWindows, WindowFn
from hornbeam.utils.timestamp import Timestamp

if TYPE_CHECKING:
    from hornbeam.transforms.window import BoundedWindow

__all__ = [
    "SIDE_INPUT_PREFIX",
    "SIDE_INPUT_REGEX",
    "SideInputMap",
    "SideInputRef",
    "default_window_mapping_fn",
    "get_sideinput_index",
    "side_input_refs",
    "view_of",
]

#: Tags of side inputs are this and a number, in the order of the arguments.
SIDE_INPUT_PREFIX = "side"
SIDE_INPUT_REGEX = SIDE_INPUT_PREFIX + "([0-9]+)(-.*)?$"

NO_DEFAULT: Any = AsSingleton._NO_DEFAULT


@attrs.frozen
class SideInputRef:
    """Stands in a step's arguments where the view of the side input `tag` belongs."""

    tag: str


def side_input_refs(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Arguments with their views replaced by references, and the defaults of singleton views by tag."""
    views: list[AsSideInput] = []

    def ref(argument: Any) -> Any:
        if not isinstance(argument, AsSideInput):
            return argument
        views.append(argument)
        return SideInputRef(f"{SIDE_INPUT_PREFIX}{len(views) - 1}")

    new_args = tuple(map(ref, args))
    new_kwargs = {name: ref(argument) for name, argument in kwargs.items()}
    defaults = {
        f"{SIDE_INPUT_PREFIX}{index}": view.default_value
        for index, view in enumerate(views)
        if isinstance(view, AsSingleton) and view.has_default
    }
    return new_args, new_kwargs, defaults


def get_sideinput_index(tag: str) -> int:
    """The number in a side input's tag; RuntimeError when it is no such tag."""
    match = re.match(SIDE_INPUT_REGEX, tag, re.DOTALL)
    if match is None:
        raise RuntimeError(f"{tag!r} is not the tag of a side input, such as 'side0'.")
    return int(match[1])


def default_window_mapping_fn(target_window_fn: WindowFn) -> Callable[[BoundedWindow], BoundedWindow]:
    """Which window of a side input goes with a window of the main input.

    The one that the end of the main window lies in; ValueError for a merging window function.
    """
    if isinstance(target_window_fn, GlobalWindows):
        return _to_global_window
    if target_window_fn.is_merging():
        raise ValueError(
            f"A side input cannot be windowed by {target_window_fn!r}: it merges windows, so no window of the main "
            "input tells which one goes with it. Apply WindowInto to the side input first."
        )

    def map_window(window: BoundedWindow) -> BoundedWindow:
        end = Timestamp(micros=window.max_micros)
        windows = list(target_window_fn.assign(WindowFn.AssignContext(end)))
        if not windows:
            raise ValueError(f"{target_window_fn!r} has no window for the end of the main window {window!r}.")
        return windows[-1]

    return map_window


def _to_global_window(window: BoundedWindow) -> BoundedWindow:
    return GlobalWindow()


def view_of(view: str, values: Iterable[Any], default: Any = NO_DEFAULT) -> Any:
    """What the step gets for a side input with these values in its window; `view` is the name in the graph.

    ValueError for a singleton view of more than one value.
    """
    if view == AsSingleton.__name__:
        head = list(islice(values, 2))
        if len(head) > 1:
            raise ValueError(
                "A PCollection with more than one element was accessed as a singleton view. The first two "
                f"elements are {head[0]!r} and {head[1]!r}. Use AsIter or AsList, or combine it to one value."
            )
        if head:
            return head[0]
        return EmptySideInput() if default is NO_DEFAULT else default
    if view == AsIter.__name__:
        return values
    if view == AsList.__name__:
        return list(values)
    if view == AsDict.__name__:
        return dict(values)
    if view == AsMultiMap.__name__:
        grouped: dict[Any, list[Any]] = {}
        for key, value in values:
            grouped.setdefault(key, []).append(value)
        return grouped
    raise ValueError(f"There is no side input view {view!r}.")


class SideInputMap:
    """A side input's values by window of the main input, with the view that the step gets of them."""

    def __init__(
        self,
        view_class: type[AsSideInput],
        view_options: Mapping[str, Any],
        iterable: Mapping[Any, Iterable[Any]],
    ) -> None:
        self._view_class = view_class
        self._default = view_options.get("default", NO_DEFAULT)
        self._window_mapping_fn = view_options.get("window_mapping_fn", _to_global_window)
        self._iterable = iterable
        self._views: dict[Any, Any] = {}

    def __getitem__(self, window: BoundedWindow) -> Any:
        target = self._window_mapping_fn(window)
        if target not in self._views:
            values = self._iterable[target]
            self._views[target] = view_of(self._view_class.__name__, values, self._default)
        return self._views[target]

    def is_globally_windowed(self) -> bool:
        """Whether all windows of the main input see the same values."""
        return bool(self._window_mapping_fn is _to_global_window)
