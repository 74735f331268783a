"""Neighbouring steps of plain functions as one Python loop, written for them and compiled.

CPython calls a Python function from Python code without leaving its interpreter loop, and a loop needs no list between two
steps, so the loop that a person would write by hand is the quickest way to run map, filter, flat map, map. That is
what is generated here:

    for x0 in values:
        x1 = f0(x0)                    # map
        if f1(x1):                     # filter
            r2 = f2(x1)                # flat map
            if r2.__class__ not in SIZED: r2 = paced(r2, 2)
            for x2 in r2:
                append(f3(x2))         # map

A result that may be a TimestampedValue, WindowedValue or TaggedOutput (see `plain_results`) is looked at, and one that is
goes the general way alone. The line on which an exception left the loop, and the loop's variables, tell the step and
the element. The steps' own operators remain; they take over when metadata has to follow elements that come or go, and
when a function counts metrics, which the loop could not attribute cheaply.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.element_operators import (
    CallingOperator,
    FilterOperator,
    FlatMapOperator,
    MapOperator,
    iterable_result,
)
from hornbeam.runners.engine.failures import note_failure, stopped_iteration
from hornbeam.runners.engine.operator import Operator, Receiver
from hornbeam.runners.engine.plain_results import gives_plain, gives_plain_items
from hornbeam.utils.marked import MARKED

_SIZED = frozenset({list, tuple})
_SLICE_MIN = 16
#: Callable objects of other types gain nothing from being called from Python.
_FUNCTIONS = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    type,
)
#: Filters and flat maps in one loop: each nests it deeper, and CPython compiles at most 20 loops in each other.
NESTED_MAX = 16
#: After so many marked values the steps' own operators, which treat many of them at once, are quicker.
_DIVERTED_MAX = 16


def can_fuse(operator: Operator) -> bool:
    """Whether an operator is one plain function of the element."""
    return (
        isinstance(operator, CallingOperator)
        and type(operator) in (MapOperator, FilterOperator, FlatMapOperator)
        and operator.call.plain is not None
        and isinstance(operator.call.plain[0], _FUNCTIONS)
    )


def nests(operator: Operator) -> bool:
    """Whether a step's code encloses that of the steps behind it."""
    return type(operator) is not MapOperator


class FusedOperator(Operator):
    """A run of plain steps, each the only reader of the one before."""

    def __init__(self, operators: list[CallingOperator]) -> None:
        super().__init__(operators[0].label, None, {"out": operators[-1].emit})
        self._operators = operators
        self._first: Receiver = operators[0].process
        self._lines: dict[int, int] = {}
        self._inputs: list[str] = []
        self._loop = self._compile()
        self._code: types.CodeType = self._loop.__code__
        #: Whether result i always belongs to element i, so that metadata columns stay as they are.
        self._keeps_place = not self._may_divert and all(
            type(operator) is MapOperator for operator in operators
        )
        self._container = SharedContainer(self)
        self._slice = CHUNK
        self._diverted = 0
        #: Set when the loop has turned out to be the slower way.
        self._unfused = False
        self._bundle = Bundle([])
        self._out: list[Any] = []

    def process(self, bundle: Bundle) -> None:
        if self._unfused or not (bundle.is_uniform or self._keeps_place):
            self._first(bundle)
            return
        previous = set_current(cast(MetricsContainer, self._container))
        try:
            self._bundle = bundle
            values = bundle.values
            if len(values) <= self._slice or not bundle.is_uniform:
                self._run(values)
                return
            start = 0
            while start < len(values):
                end = start + self._slice
                self._run(values[start:end])
                start = end
        finally:
            set_current(previous)

    def _run(self, values: list[Any]) -> None:
        out = self._out = []
        try:
            self._loop(values, out)
        except StopIteration as error:
            stopped = stopped_iteration(error)
            self._note(error, stopped)
            raise stopped from error
        except BaseException as error:
            self._note(error, error)
            raise
        if len(out) > 2 * CHUNK:
            # The steps behind this one are quickest when what they get is still in the processor's cache.
            self._slice = max(_SLICE_MIN, len(values) * CHUNK // len(out))
        if out:
            for part in self._bundle.with_values(out).chunks(4 * CHUNK):
                self.emit(part)

    def _flush(self) -> None:
        """Sends what the loop has gathered so far, from its middle."""
        if self._out:
            gathered = self._bundle.with_values(self._out[:])
            self._out.clear()
            self.emit(gathered)

    # What the loop calls

    def _paced(self, result: Any, index: int) -> Iterator[Any]:
        """Iterates a result that is no list, and sends on now and then what was gathered, for it may be endless."""
        iterator = iter(iterable_result(result, self._operators[index].label))
        while part := list(islice(iterator, CHUNK)):
            yield from part
            if len(self._out) >= CHUNK:
                self._flush()

    def _divert(self, value: Any, index: int) -> None:
        """Sends a marked result of step `index` the general way, after what came before it."""
        self._diverted += 1
        if self._diverted > _DIVERTED_MAX:
            self._unfused = True
        self._flush()
        self._operators[index].outputs.send(Bundle([value], *self._metadata()))

    def _metadata(self) -> tuple[Any, Any, Any]:
        return self._bundle.timestamps, self._bundle.windows, self._bundle.panes

    # What went wrong, and where

    def _note(self, raised: BaseException, error: BaseException) -> None:
        trace = raised.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code is self._code:
                index = self._lines.get(trace.tb_lineno, 0)
                element = trace.tb_frame.f_locals.get(self._inputs[index])
                shown = Bundle([element], *self._metadata()) if self._bundle.is_uniform else Bundle([element])
                note_failure(error, self._operators[index].label, shown, 0)
                return
            trace = trace.tb_next

    def container_of_frame(self, frame: types.FrameType | None) -> MetricsContainer | None:
        """The metrics of the step whose function is running, found on the stack."""
        while frame is not None:
            if frame.f_code is self._code:
                self._unfused = True
                return self._operators[self._lines.get(frame.f_lineno, 0)].container
            frame = frame.f_back
        return self._operators[0].container

    def label_at(self, frame: types.FrameType) -> str | None:
        """The label of the step whose function a frame of the loop is calling; None for any other frame."""
        if frame.f_code is not self._code:
            return None
        return self._operators[self._lines.get(frame.f_lineno, 0)].label

    # The loop

    def _compile(self) -> Callable[[list[Any], list[Any]], None]:
        scope: dict[str, Any] = {
            "__name__": __name__,  # so that the loop counts as a frame of ours in tracebacks
            "MARKED": MARKED,
            "SIZED": _SIZED,
            "paced": self._paced,
            "divert": self._divert,
        }
        lines = ["def loop(values, out):", "    append = out.append", "    for x0 in values:"]
        indent = " " * 8
        place = 0
        self._may_divert = False
        for index, operator in enumerate(self._operators):
            assert operator.call.plain is not None
            function, star = operator.call.plain
            scope[f"f{index}"] = function
            call = f"f{index}({'*' if star else ''}x{place})"
            self._inputs.append(f"x{place}")
            written = []
            if type(operator) is MapOperator:
                place += 1
                written.append(f"x{place} = {call}")
                if star or not gives_plain(function):
                    written.append(f"if x{place}.__class__ in MARKED: divert(x{place}, {index}); continue")
                    self._may_divert = True
            elif type(operator) is FilterOperator:
                written.append(f"if {call}:")
            else:
                written.append(f"r{index} = {call}")
                if not gives_plain_items(function):
                    written.append(f"if r{index}.__class__ not in SIZED: r{index} = paced(r{index}, {index})")
                place += 1
                written.append(f"for x{place} in r{index}:")
                if star or not gives_plain_items(function):
                    written.append(
                        f"    if x{place}.__class__ in MARKED: divert(x{place}, {index}); continue"
                    )
                    self._may_divert = True
            for line in written:
                lines.append(indent + line)
                self._lines[len(lines)] = index
            if nests(operator):
                indent += "    "
        lines.append(f"{indent}append(x{place})")
        exec(compile("\n".join(lines), "<fused steps>", "exec"), scope)
        loop: Callable[[list[Any], list[Any]], None] = scope["loop"]
        return loop


class SharedContainer:
    """Stands for the metrics of all fused steps: what is asked of it, the running step's container answers."""

    __slots__ = ("_owner",)

    def __init__(self, owner: FusedOperator) -> None:
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner.container_of_frame(sys._getframe(1)), name)
