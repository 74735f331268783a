"""The steps of a combine that are not groupings: precombine before an exchange, and combining grouped values."""

from __future__ import annotations

import copy
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np

from hornbeam.metrics.execution import MetricsContainer, set_current
from hornbeam.runners.engine.bundle import Bundle, Coded, Intervals, WindowSet
from hornbeam.runners.engine.combine_folding import UNCHANGEABLE, CountFolding
from hornbeam.runners.engine.failures import naming, note_failure
from hornbeam.runners.engine.folding import Cell, Folding, add_coded
from hornbeam.runners.engine.keys import are_raw, user_key
from hornbeam.runners.engine.operator import Operator, Receiver
from hornbeam.runners.engine.pairs import GroupingSpec, Pairs, keep_stamps, refuse_non_pairs
from hornbeam.transforms.pardo import SideInputRef
from hornbeam.transforms.window import TimestampCombiner

#: Keys that a precombine holds before it hands its accumulators on.
KEYS_MAX = 1 << 16
#: Values that may pend before they are folded.
PENDING_MAX = 1 << 16

_first, _second = itemgetter(0), itemgetter(1)


class PrecombineOperator(Operator):
    """Folds the values of a key within a bundle, so that the exchange behind it carries one accumulator for many."""

    def __init__(
        self,
        spec: GroupingSpec,
        container: MetricsContainer | None,
        receivers: dict[str, Receiver],
        void: str | None = None,
    ) -> None:
        super().__init__(spec.label, container, receivers)
        self.spec = spec
        #: Which half of every pair is None and has been left out of the elements: "key", "value" or neither.
        self._void = void
        self._folding: Folding = spec.folding
        self._pairs = Pairs(spec)
        self._cells: dict[WindowSet, Cell] = {}
        self._pending = 0
        self._stamps_wanted = spec.timestamp_combiner != TimestampCombiner.OUTPUT_AT_EOW

    def setup(self) -> None:
        with naming(f"{self.label}, setup"):
            self._folding.setup()

    def teardown(self) -> None:
        with naming(f"{self.label}, teardown"):
            self._folding.teardown()

    def process(self, bundle: Bundle) -> None:
        previous = set_current(self.container)
        try:
            self._process(bundle)
        finally:
            set_current(previous)

    def _process(self, bundle: Bundle) -> None:
        folding = self._folding
        if type(bundle.windows) is Intervals:
            bundle = Bundle(
                bundle.values, bundle.timestamps, Coded.of(bundle.windows.to_list()), bundle.panes
            )
        if self._stamps_wanted:
            bundle = bundle.exploded()
            if not bundle.values:  # they were in no window at all
                return
        if self._void is not None:
            if type(bundle.windows) is tuple and not self._stamps_wanted and self._fold_bare(bundle):
                return
            columns = (repeat(None), bundle.values) if self._void == "key" else (bundle.values, repeat(None))
            bundle = bundle.with_values(list(zip(*columns)))
        pairs = self._pairs.check(bundle)
        try:
            if type(bundle.windows) is tuple:
                cell = self._cell(bundle.windows)
                folding.add(cell, pairs)
                if self._stamps_wanted:
                    keep_stamps(
                        self.spec, cell.stamps, bundle.windows[0], map(_first, pairs), bundle.timestamp_list()
                    )
            else:
                self._spread(bundle, pairs)
        except Exception as error:
            if isinstance(error, (TypeError, ValueError)):
                refuse_non_pairs(self.label, bundle.values)
            note_failure(error, self.label)
            raise
        self._count(len(pairs))

    def _fold_bare(self, bundle: Bundle) -> bool:
        """Folds bare values, or counts bare elements; False when there is no way without pairs."""
        assert type(bundle.windows) is tuple
        folding, values = self._folding, bundle.values
        if self._void == "value" and not (isinstance(folding, CountFolding) and are_raw(values)):
            return False
        try:
            if self._void == "key":
                folding.add_values(self._cell(bundle.windows), values)
            else:
                self._cell(bundle.windows).accumulators.update(values)
        except Exception as error:
            note_failure(error, self.label)
            raise
        self._count(len(bundle))
        return True

    def _count(self, added: int) -> None:
        self._pending += added
        if self._pending >= PENDING_MAX:
            self._pending = 0
            with naming(self.label):
                for cell in self._cells.values():
                    self._folding.compact(cell)
            if sum(map(len, self._cells.values())) > KEYS_MAX:
                self.flush()

    def _cell(self, windows: WindowSet) -> Cell:
        cell = self._cells.get(windows)
        if cell is None:
            cell = self._cells[windows] = self._folding.new_cell()
        return cell

    def _spread(self, bundle: Bundle, pairs: list[Any]) -> None:
        windows = bundle.windows
        assert type(windows) is Coded
        cells = [self._cell(entry) for entry in windows.table]
        add_coded(self._folding, cells, windows.codes, pairs)
        if self._stamps_wanted:
            for pair, code, stamp in zip(pairs, windows.codes.tolist(), bundle.timestamp_list()):
                keep_stamps(self.spec, cells[code].stamps, windows.table[code][0], (pair[0],), (stamp,))

    def finish_bundle(self) -> None:
        self.flush()

    def flush(self) -> None:
        """Hands on the accumulators of all keys."""
        cells, self._cells = self._cells, {}
        self._pending = 0
        previous = set_current(self.container)
        try:
            for windows, cell in cells.items():
                if not windows or not len(cell):
                    continue
                try:
                    accumulated: list[tuple[Any, Any]] = list(self._folding.accumulated([cell]))
                except Exception as error:
                    note_failure(error, self.label)
                    raise
                stamps = cell.stamps
                end = windows[0].max_micros
                times: Any = end
                if stamps:
                    times = np.array([stamps[key] for key, _ in accumulated], dtype=np.int64)
                pairs = [(user_key(key), accumulator) for key, accumulator in accumulated]
                if len(windows) > 1 and not all(map(_cannot_change, map(_second, pairs))):
                    # Merging may change an accumulator in place, so that each window needs its own.
                    for window in windows[1:]:
                        self.emit(Bundle(copy.deepcopy(pairs), times, (window,)))
                    windows = windows[:1]
                self.emit(Bundle(pairs, times, windows))
        finally:
            set_current(previous)


def _cannot_change(accumulator: Any) -> bool:
    if type(accumulator) is tuple:
        return all(map(_cannot_change, accumulator))
    return type(accumulator) in UNCHANGEABLE


class CombineValuesOperator(Operator):
    """(key, values) → (key, combined): CombineValues, and the second half of a combine that was not lifted.

    With side inputs the arguments depend on the window, so the CombineFn is called through `fold_for`.
    """

    def __init__(
        self, label: str, container: MetricsContainer | None, receivers: dict[str, Receiver], folder: Any
    ) -> None:
        super().__init__(label, container, receivers)
        self._folder = folder

    def setup(self) -> None:
        with naming(f"{self.label}, setup"):
            self._folder.setup()

    def teardown(self) -> None:
        with naming(f"{self.label}, teardown"):
            self._folder.teardown()

    def process(self, bundle: Bundle) -> None:
        previous = set_current(self.container)
        try:
            if self._folder.per_window:
                for window, part in bundle.by_window():
                    self._combine(part, window)
            else:
                self._combine(bundle, None)
        finally:
            set_current(previous)

    def _combine(self, bundle: Bundle, window: Any) -> None:
        fold = self._folder.fold_for(window)
        out: list[Any] = []
        try:
            for key, values in bundle.values:
                out.append((key, fold(values)))
        except BaseException as error:
            note_failure(error, self.label, bundle, len(out))
            raise
        self.emit(bundle.with_values(out))


class CombineFolder:
    """A CombineFn with extra arguments, some of which may be side inputs."""

    def __init__(
        self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any], readers: dict[str, Any]
    ) -> None:
        self._fn = fn
        self._args = args
        self._kwargs = kwargs
        self._readers = readers
        self.per_window = any(not reader.is_global for reader in readers.values())

    def _arguments(self, window: Any) -> tuple[list[Any], dict[str, Any]]:
        def fill(value: Any) -> Any:
            return self._readers[value.tag].get(window) if isinstance(value, SideInputRef) else value

        return [fill(v) for v in self._args], {name: fill(v) for name, v in self._kwargs.items()}

    def setup(self) -> None:
        """Sets the CombineFn up."""
        args, kwargs = ([], {}) if self._readers else self._arguments(None)
        self._fn.setup(*args, **kwargs)

    def teardown(self) -> None:
        """Tears the CombineFn down."""
        args, kwargs = ([], {}) if self._readers else self._arguments(None)
        self._fn.teardown(*args, **kwargs)

    def fold_for(self, window: Any) -> Any:
        """The function from values to output, for elements in the window."""
        args, kwargs = self._arguments(window)
        fn = self._fn

        def fold(values: Any) -> Any:
            accumulator = fn.add_inputs(fn.create_accumulator(*args, **kwargs), values, *args, **kwargs)
            return fn.extract_output(fn.compact(accumulator, *args, **kwargs), *args, **kwargs)

        return fold
