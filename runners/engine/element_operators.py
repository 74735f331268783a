"""Steps that call a user function for each element: map, filter, and flat map (which every DoFn's process is).

Each works on a whole bundle at C speed, knows by its iterator's position which element raised, and changes metadata
columns only where elements come or go.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, compress, islice
from typing import Any

import numpy as np

from hornbeam.metrics.execution import set_current
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.calling import Call
from hornbeam.runners.engine.failures import note_failure, short_repr, stopped_iteration
from hornbeam.runners.engine.operator import Operator
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.runners.engine.plain_results import gives_plain, gives_plain_items

_SIZED = frozenset({list, tuple})
_NOTHING = type(None)
#: What a process method may not give back, though it can be iterated: almost always a forgotten list around it.
_REFUSED = (str, bytes, dict)
_SLICE_MIN = 16


class CallingOperator(Operator):
    """What map, filter and flat map share: the call, and the name of the element that failed."""

    call: Call
    outputs: Outputs

    def prepare(self, call: Call, outputs: Outputs) -> None:
        """Gives the operator its function; once, before any element."""
        self.call = call
        self.outputs = outputs

    def process(self, bundle: Bundle) -> None:
        if self.call.per_window:
            bundle = bundle.exploded()
            if not bundle.values:
                return
        previous = set_current(self.container)
        try:
            self._process(bundle)
        finally:
            set_current(previous)

    def _process(self, bundle: Bundle) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _process")

    def _results(self, bundle: Bundle) -> list[Any]:
        """The results of the calls for all elements."""
        values = iter(bundle.values)
        try:
            results = list(self.call.over(values, bundle))
        except BaseException as error:
            note_failure(error, self.label, bundle, position(values, bundle))
            raise
        if len(results) < len(bundle.values):
            # To map() the StopIteration of a function is the end of the elements.
            stopped = stopped_iteration()
            note_failure(stopped, self.label, bundle, position(values, bundle))
            raise stopped
        return results


def position(values: Iterator[Any], bundle: Bundle) -> int:
    """The index of the element that an iterator over the bundle's values gave last."""
    left: int = values.__length_hint__()  # type: ignore[attr-defined]
    return len(bundle.values) - left - 1


class MapOperator(CallingOperator):
    """One result for each element."""

    def prepare(self, call: Call, outputs: Outputs) -> None:
        super().prepare(call, outputs)
        plain = call.plain is not None and not call.plain[1] and gives_plain(call.plain[0])
        self._send = self.emit if plain else outputs.send

    def _process(self, bundle: Bundle) -> None:
        self._send(bundle.with_values(self._results(bundle)))


class FilterOperator(CallingOperator):
    """The elements for which the function is true."""

    def _process(self, bundle: Bundle) -> None:
        keep = self._results(bundle)
        left = iter(keep)
        try:
            values = list(compress(bundle.values, left))
        except BaseException as error:  # what the function gave has no truth value
            note_failure(error, self.label, bundle, position(left, bundle))
            raise
        if not values:
            return
        if len(values) == len(keep):
            self.emit(bundle)
        elif bundle.is_uniform:
            self.emit(bundle.with_values(values))
        else:
            self.emit(bundle.take(values, np.fromiter(map(bool, keep), dtype=bool, count=len(keep))))


class StampOperator(CallingOperator):
    """The same elements at the timestamps that the function gives, in seconds."""

    def _process(self, bundle: Bundle) -> None:
        stamps = self._results(bundle)
        try:
            restamped = self.outputs.restamped(bundle, bundle.values, stamps)
        except (TypeError, ValueError) as error:
            note_failure(error, self.label)
            raise
        if restamped.values:
            self.emit(restamped)


class FlatMapOperator(CallingOperator):
    """Any number of results for each element, cut into chunks as they are produced."""

    #: Elements whose results are asked for at a time; shrinks when each gives many.
    _slice = CHUNK
    #: Results that are handed on at a time.
    _chunk = CHUNK

    def prepare(self, call: Call, outputs: Outputs) -> None:
        super().prepare(call, outputs)
        plain = call.plain is not None and not call.plain[1] and gives_plain_items(call.plain[0])
        self._send = self.emit if plain else outputs.send

    def _process(self, bundle: Bundle) -> None:
        start, count = 0, len(bundle.values)
        while start < count:
            end = start + self._slice
            if start == 0 and end >= count:
                part = bundle
            else:
                part = bundle.take(bundle.values[start:end], slice(start, end))
            self._process_part(part)
            start = end

    def _process_part(self, bundle: Bundle) -> None:
        results = self._results(bundle)
        kinds = set(map(type, results))
        if not kinds <= _SIZED:
            if _NOTHING in kinds:
                results = [() if result is None else result for result in results]
                kinds = (kinds - {_NOTHING}) | {tuple}
            for kind in kinds:
                if issubclass(kind, _REFUSED) or getattr(kind, "__iter__", None) is None:
                    self._refuse(kind, results, bundle)
        if kinds <= _SIZED:
            self._adapt(len(results), sum(map(len, results)))
        if bundle.is_uniform:
            self._send_uniform(results, bundle)
        else:
            self._send_aligned(results, bundle, kinds <= _SIZED)

    def _adapt(self, inputs: int, outputs: int) -> None:
        if outputs > 2 * CHUNK:
            self._slice = max(_SLICE_MIN, inputs * CHUNK // outputs)

    def _send_uniform(self, results: list[Any], bundle: Bundle) -> None:
        values = iter(results)
        flat = chain.from_iterable(values)
        send = self._send
        while True:
            out: list[Any] = []
            try:
                out.extend(islice(flat, self._chunk))
            except BaseException as error:
                note_failure(error, self.label, bundle, position(values, bundle))
                raise
            if not out:
                return
            send(bundle.with_values(out))

    def _send_aligned(self, results: list[Any], bundle: Bundle, sized: bool) -> None:
        send = self._send
        if sized:
            counts = list(map(len, results))
            flat = list(chain.from_iterable(results))
            if flat:
                for part in bundle.repeat(flat, counts).chunks(4 * CHUNK):
                    send(part)
            return
        out: list[Any] = []
        counts = [0] * len(results)
        for index, result in enumerate(results):
            iterator = iter(result)
            while True:
                before = len(out)
                try:
                    out.extend(islice(iterator, self._chunk - before))
                except BaseException as error:
                    note_failure(error, self.label, bundle, index)
                    raise
                counts[index] += len(out) - before
                if len(out) < self._chunk:
                    break
                send(bundle.repeat(out, counts))
                out, counts = [], [0] * len(results)
        if out:
            send(bundle.repeat(out, counts))

    def _refuse(self, kind: type, results: list[Any], bundle: Bundle) -> None:
        index = next(i for i, result in enumerate(results) if type(result) is kind)
        try:
            iterable_result(results[index], self.label)
        except TypeError as error:
            note_failure(error, self.label, bundle, index)
            raise


def iterable_result(result: Any, label: str) -> Any:
    """What a process method gave, as something to iterate; TypeError for a str, bytes, dict, or what is no iterable."""
    if result is None:
        return ()
    kind = type(result)
    if issubclass(kind, _REFUSED):
        raise TypeError(
            f"Step {label!r} returned a {kind.__name__}, {short_repr(result)}, where an iterable of elements is "
            f"wanted. Return [{short_repr(result)}] to emit it as one element, or list(...) of it to emit its parts."
        )
    if getattr(kind, "__iter__", None) is None:
        raise TypeError(
            f"Step {label!r} returned {short_repr(result)}, a {kind.__name__}, where an iterable of elements is "
            "wanted (a list, a generator, or None for no output). Use beam.Map for one result an element."
        )
    return result
