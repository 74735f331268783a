"""Side inputs at run time: a spooled pcollection read through a view, for the window of the main element.

    main window ── window mapping ──► side window ── view ──► what the function gets (made once per side window)

The default mapping gives the window that the side input's window function assigns at the last timestamp of the main
window (The Beam model: side inputs and windowing).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import cloudpickle

from hornbeam.graph.model import SideInput
from hornbeam.pvalue import EmptySideInput
from hornbeam.runners.engine.failures import short_repr
from hornbeam.runners.engine.spill import Spool
from hornbeam.transforms.window import GlobalWindow, GlobalWindows, WindowFn

#: Values of a window kept as a list; an AsIter over more is read from its spool each time.
_LIST_MAX = 100_000
#: Side windows whose views are remembered.
_VIEWS_MAX = 100


class SpooledIterable:
    """The elements of a spool in the global window; may be iterated again and again."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def __iter__(self) -> Iterator[Any]:
        for bundle in self._spool:
            yield from bundle.values

    def __len__(self) -> int:
        return self._spool.count

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class SideInputReader:
    """One side input of one step."""

    def __init__(
        self, label: str, side: SideInput, window_fn: WindowFn, spool: Spool | None, default: list[Any]
    ) -> None:
        self._label = label
        self._view: Callable[[Iterable[Any]], Any] = _VIEWS[side.view].__get__(self)
        self._spool = spool
        self._default = default  # empty, or the one default value
        self._window_fn = window_fn
        #: Whether all elements of the main input see the same view.
        self.is_global = type(window_fn) is GlobalWindows and not side.window_mapping
        self._maps_by_default = not side.window_mapping
        self._map = cloudpickle.loads(side.window_mapping) if side.window_mapping else self._default_mapping
        self._by_window: dict[Any, list[Any]] | None = None
        self._views: dict[Any, Any] = {}

    def get(self, main_window: Any) -> Any:
        """The argument for elements in the window."""
        window = GlobalWindow() if self.is_global else self._map(main_window)
        if window not in self._views:
            if len(self._views) >= _VIEWS_MAX:
                self._views.clear()
            self._views[window] = self._view(self._elements(window))
        return self._views[window]

    def _default_mapping(self, main_window: Any) -> Any:
        context = WindowFn.AssignContext(main_window.max_timestamp())
        windows = list(self._window_fn.assign(context))
        if not windows:
            raise ValueError(
                f"no window of the side input at {self._label!r} goes with the main window {main_window}: "
                f"{self._window_fn!r} has none at {context.timestamp}. Apply beam.WindowInto to the side input first, with "
                "windows that leave no gaps."
            )
        return windows[-1]

    def _elements(self, window: Any) -> Iterable[Any]:
        assert self._spool is not None
        if type(self._window_fn) is GlobalWindows:
            iterable = SpooledIterable(self._spool)
            return iterable if len(iterable) > _LIST_MAX else list(iterable)
        if self._by_window is None:
            self._by_window = {}
            for bundle in self._spool:
                for side_window, part in bundle.by_window():
                    self._by_window.setdefault(side_window, []).extend(part.values)
        return self._by_window.get(window, ())

    # The views

    def _singleton(self, elements: Iterable[Any]) -> Any:
        head = list(islice(elements, 2))
        if not head:
            return self._default[0] if self._default else EmptySideInput()
        if len(head) == 1:
            return head[0]
        raise ValueError(
            f"AsSingleton at {self._label!r} needs a side input of one element; it has more than one. "
            f"The first two are {short_repr(head[0])} and {short_repr(head[1])}. Use AsIter or AsList, or combine."
        )

    def _iterable(self, elements: Iterable[Any]) -> Any:
        return elements if isinstance(elements, SpooledIterable) else list(elements)

    def _list(self, elements: Iterable[Any]) -> Any:
        return list(elements)

    def _dict(self, elements: Iterable[Any]) -> Any:
        try:
            return dict(elements)
        except (TypeError, ValueError) as error:
            raise self._not_pairs("AsDict", elements, error) from None

    def _multimap(self, elements: Iterable[Any]) -> Any:
        values: defaultdict[Any, list[Any]] = defaultdict(list)
        try:
            for key, value in elements:
                values[key].append(value)
        except (TypeError, ValueError) as error:
            raise self._not_pairs("AsMultiMap", elements, error) from None
        return values

    def _not_pairs(self, view: str, elements: Iterable[Any], error: Exception) -> TypeError:
        for element in elements:
            if not (isinstance(element, (tuple, list)) and len(element) == 2):
                return TypeError(
                    f"{view} at {self._label!r} needs (key, value) pairs; it got {short_repr(element)}, "
                    f"a {type(element).__name__}. Add beam.Map(lambda x: (key, x)) before it."
                )
        return TypeError(f"{view} at {self._label!r} needs keys that can be hashed: {error}.")


_VIEWS: dict[str, Any] = {
    "AsSingleton": SideInputReader._singleton,
    "AsIter": SideInputReader._iterable,
    "AsList": SideInputReader._list,
    "AsDict": SideInputReader._dict,
    "AsMultiMap": SideInputReader._multimap,
}
