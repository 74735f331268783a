"""How user functions are called for a whole bundle: the arguments as columns, the calls by C-level iteration.

A function that only wants the element becomes `map(fn, values)`; each context parameter, extra argument or side
input is one more column beside the values. Only keyword-only context parameters need a call in Python in between.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat, starmap
from operator import itemgetter
from typing import Any

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.transforms.dofn_params import DoFnParam
from hornbeam.transforms.pardo import SideInputRef
from hornbeam.transforms.signature import BoundCall, MethodSignature, Parameter
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import create

Column = Callable[[Bundle], Iterable[Any]]


def _timestamps(bundle: Bundle) -> Iterable[Any]:
    if type(bundle.timestamps) is int:
        return repeat(Timestamp(micros=bundle.timestamps))
    return [Timestamp(micros=stamp) for stamp in bundle.timestamp_list()]


def _windows(bundle: Bundle) -> Iterable[Any]:
    if type(bundle.windows) is tuple:
        return repeat(bundle.windows[0])
    return [windows[0] for windows in bundle.window_list()]


def _keys(bundle: Bundle) -> Iterable[Any]:
    return map(itemgetter(0), bundle.values)


def _windowed_values(bundle: Bundle) -> Iterable[Any]:
    rows = zip(bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list())
    return list(starmap(create, rows))


_CONTEXT: dict[str, Column] = {
    "element": lambda bundle: bundle.values,
    "timestamp": _timestamps,
    "window": _windows,
    "pane": lambda bundle: bundle.pane_list(),
    "key": _keys,
    "windowed_value": _windowed_values,
}

#: Context that is different for each window of an element, so that the element is processed once for each.
_PER_WINDOW = frozenset({"window", "windowed_value"})


class Call:
    """A user function with its arguments laid out. `over(bundle)` gives the results, lazily, in order.

    `provided` holds values for context parameters that are the same for all elements of a bundle (setup context,
    restriction tracker …), by parameter name; the caller may change it between bundles. `columns` gives an entry an
    element for context parameters that only the caller knows (state, timers).
    """

    def __init__(
        self,
        function: Callable[..., Any],
        bound: BoundCall,
        unpacked: bool,
        side_inputs: Mapping[str, SideInputReader],
        provided: dict[str, Any] | None = None,
        columns: Mapping[DoFnParam, Column] | None = None,
    ) -> None:
        self.provided = {} if provided is None else provided
        self._own_columns = columns or {}
        self._side_inputs = side_inputs
        self.sides = [
            ref.tag for ref in (*bound.positional, *bound.keywords.values()) if isinstance(ref, SideInputRef)
        ]
        #: Whether the function must see each element once for each of its windows.
        self.per_window = any(p.kind in _PER_WINDOW for p in bound.context) or any(
            not side_inputs[tag].is_global for tag in self.sides
        )
        constants = {n: v for n, v in bound.keywords.items() if not isinstance(v, (Parameter, SideInputRef))}
        varying = {n: v for n, v in bound.keywords.items() if n not in constants}
        if constants:
            function = functools.partial(function, **constants)
        items = [*bound.positional, *varying.values()]
        self._columns = [self._column(item) for item in items]
        self._star = False
        if unpacked and len(items) == 1:
            self._star = True
        elif unpacked:
            function = _unpacking(function, len(bound.positional), tuple(varying))
        elif varying:
            function = _by_name(function, len(bound.positional), tuple(varying))
        self._function = function
        #: The function and whether the element is unpacked for it, when it wants nothing but the element.
        self.plain: tuple[Callable[..., Any], bool] | None = None
        self._only_element = (
            len(items) == 1 and isinstance(items[0], Parameter) and items[0].kind == "element"
        )

        if self._only_element or self._star:
            self.plain = (function, self._star)

    def _column(self, item: Any) -> Column:
        if isinstance(item, SideInputRef):
            reader = self._side_inputs[item.tag]
            return lambda bundle: _side_column(reader, bundle)
        if not isinstance(item, Parameter):
            return lambda bundle: repeat(item)
        if item.param is not None and item.param in self._own_columns:
            return self._own_columns[item.param]
        if item.kind in _CONTEXT:
            return _CONTEXT[item.kind]
        name = item.name
        return lambda bundle: repeat(self.provided[name])

    def over(self, values: Iterator[Any], bundle: Bundle) -> Iterator[Any]:
        """The results for each element. `values` iterates the bundle's values: how far it has come tells which element
        is being worked on."""
        if self._star:
            return starmap(self._function, values)
        if self._only_element:
            return map(self._function, values)
        columns = [column(bundle) for column in self._columns]
        for index, column in enumerate(columns):
            if column is bundle.values:
                columns[index] = values
        return map(self._function, *columns)

    def once(self, context: Bundle | None = None) -> Any:
        """Calls a function that takes no element, in the context of a bundle of one."""
        one = Bundle([None]) if context is None else context
        return (
            next(map(self._function, *[column(one) for column in self._columns]))
            if self._columns
            else self._function()
        )


def _side_column(reader: SideInputReader, bundle: Bundle) -> Iterable[Any]:
    if reader.is_global:
        return repeat(reader.get(None))
    if type(bundle.windows) is tuple:
        return repeat(reader.get(bundle.windows[0]))
    return [reader.get(windows[0]) for windows in bundle.window_list()]


def _by_name(function: Callable[..., Any], places: int, names: tuple[str, ...]) -> Callable[..., Any]:
    def call(*row: Any) -> Any:
        return function(*row[:places], **dict(zip(names, row[places:])))

    return call


def _unpacking(function: Callable[..., Any], places: int, names: tuple[str, ...]) -> Callable[..., Any]:
    def call(element: Any, *row: Any) -> Any:
        rest = places - 1
        return function(*element, *row[:rest], **dict(zip(names, row[rest:])))

    return call


def bind(
    method: MethodSignature,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    side_inputs: Mapping[str, SideInputReader],
    function: Callable[..., Any] | None = None,
    provided: dict[str, Any] | None = None,
    columns: Mapping[DoFnParam, Column] | None = None,
) -> Call:
    """The Call of a DoFn's method, or of `function` with the method's parameters."""
    bound = method.bind(args, kwargs)
    return Call(function or method.method, bound, method.unpacked, side_inputs, provided, columns)
