"""A ParDo over a DoFn with state or timers: a stage's head, and on bounded data a step like any other.

    elements ──► records of their keys and windows ──► process(element, cell, timer, …)
    watermark, clock ──► timers that are due ──► callbacks ──► windows that expire ──► forgotten

State and timers are kept in memory up to a limit, then on disk (`working_set`). A call is finished, to the last of its
outputs, before the next one begins, so that a generator sees the state that the calls before it left. (Timely and stateful
processing: docs/event-time.md.)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice, repeat
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from hornbeam.error import NotSupportedError
from hornbeam.metrics.execution import set_current
from hornbeam.runners.engine.bundle import CHUNK, Bundle, Coded, Intervals
from hornbeam.runners.engine.callbacks import Callback
from hornbeam.runners.engine.calling import Call, Column, bind
from hornbeam.runners.engine.clock import NEVER, WallClock
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.element_operators import iterable_result, position
from hornbeam.runners.engine.emission import OutputChunks
from hornbeam.runners.engine.failures import add_failure, naming, note_failure, stopped_iteration
from hornbeam.runners.engine.head import END_OF_TIME, ChangedColumns, Head, Hold, PickledColumns
from hornbeam.runners.engine.keyed_records import KeyedInput, KeyedRecords, Record, WindowTable, table_keys
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.lasting_cells import LastingFamily, swept
from hornbeam.runners.engine.late_data import count_late
from hornbeam.runners.engine.present import UNKNOWN, Present
from hornbeam.runners.engine.record_contents import RecordContents
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.state_cells import CellFamily
from hornbeam.runners.engine.state_snapshots import StateSnapshots
from hornbeam.runners.engine.timekeeper import Timekeeper, earliest, place
from hornbeam.runners.engine.timer_queue import TimerQueue
from hornbeam.runners.engine.timers import KeyedTimer
from hornbeam.runners.engine.waiting import WaitingElements
from hornbeam.runners.engine.working_set import LASTING, WorkingSet
from hornbeam.transforms.dofn_params import DYNAMIC_TIMER_TAG_PARAM, DoFnParam
from hornbeam.transforms.signature import DoFnSignature, MethodSignature
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN

_SIZED = (list, tuple)
#: How many reasons `holds` gives.
_HOLDS_MAX = 5
#: Timers that are fired before records may go to disk.
_FIRED_MAX = 256
#: Changed entries that are told at a time.
_COLUMN_MAX = 4096
#: Timers that are fired, or keys that expire, before snapshots may be taken and rows sent, where snapshots are.
_SLICE = 8192


class StatefulOperator(DoFnOperator, Head):
    """Calls the methods of a stateful DoFn with the cells and timers of each element's key and window."""

    #: Whether a callback is not to be made: those that have failed again and again (see `runners.log.poison`).
    skips: Callable[[Callback], bool] | None = None

    def prepare_state(self, signature: DoFnSignature, keyed: KeyedInput) -> None:
        """Gives the operator its cells and timers; once, before `prepare_dofn`."""
        self._keyed = keyed
        self._present = Present()
        self._lasting: TimerQueue[Any] = TimerQueue()
        self._fresh: list[Any] = []
        self._timers = Timekeeper(self._present)
        self._cells = [self._cell_family(param.state_spec) for param in signature.state_params.values()]
        timers = [self._timers.family(param.timer_spec) for param in signature.timer_params.values()]
        self._records = KeyedRecords(
            [*self._cells, *timers], keyed.lateness_micros, signature.on_window_expiration is not None
        )
        #: Windows by their last timestamps, where each gets a last call.
        self._last_calls: TimerQueue[Any] | None = None
        if signature.on_window_expiration is not None:
            self._last_calls = self._records.ends = TimerQueue()
        self._waiting: WaitingElements | None = None
        if signature.requires_time_sorted_input:
            self._waiting = WaitingElements(self._records.expires)
        self._contents = RecordContents(self._records.families)
        self._snapshots = StateSnapshots(self._records, self._contents, self._waiting)
        self._working_set: WorkingSet | None = None
        #: The records of the elements, or of the firing, at hand, and the dynamic tag of the latter.
        self._column: list[Record] = []
        self._tag = ""
        self._fired = OutputChunks()
        self._is_behind = False

    def limit_memory(self, space: TemporarySpace, memory_bytes_max: int) -> None:
        """Lets records that are not in use go to disk, so that those in memory take about that much; once, at the start."""
        self._working_set = WorkingSet(self.label, self._records, self._contents, space, memory_bytes_max)
        self._timers.working_set = self._snapshots.working_set = self._working_set
        self._working_set.besides = self._snapshots.memory_bytes

    def keep_within(self, memory_bytes_max: int) -> None:
        if self._working_set is not None:
            self._working_set.limit = memory_bytes_max

    def shared_bytes(self) -> int:
        return 0 if self._working_set is None else self._working_set.index_bytes()

    def _cell_family(self, spec: Any) -> CellFamily:
        if spec.ttl_micros is None:
            return CellFamily(spec, self._present, self.label)
        return LastingFamily(spec, self._present, self.label, self._lasting, self._fresh)

    def prepare_dofn(
        self,
        signature: DoFnSignature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        side_inputs: Mapping[str, SideInputReader],
    ) -> None:
        if signature.process_batch is not None:
            raise NotSupportedError(
                f"step {self.label!r} has state or timers and process_batch; state goes with process only"
            )
        process = signature.process
        if process.unpacked:  # the DoFn around the author's function takes the element whole
            process = attrs.evolve(process, unpacked=False, by_name=True)
        super().prepare_dofn(attrs.evolve(signature, process=process), args, kwargs, side_inputs)
        columns = self._columns_of(signature)
        self.call = bind(process, args, kwargs, side_inputs, provided=self._provided, columns=columns)
        #: A generator's call does nothing by itself and what it gives can be iterated: nothing to check.
        self._generates = inspect.isgeneratorfunction(process.method)
        for family in self._timers.families:
            family.call = self._callback(signature.timer_callbacks[family.spec.name], columns)
        expiring = signature.on_window_expiration
        self._last_call = None if expiring is None else self._callback(expiring, columns)

    def _columns_of(self, signature: DoFnSignature) -> dict[DoFnParam, Column]:
        params: list[DoFnParam] = [*signature.state_params.values(), *signature.timer_params.values()]
        columns: dict[DoFnParam, Column] = {param: self._member(index) for index, param in enumerate(params)}
        columns[DYNAMIC_TIMER_TAG_PARAM] = lambda bundle: repeat(self._tag)
        return columns

    def _member(self, index: int) -> Column:
        member = itemgetter(index)
        return lambda bundle: map(member, self._column)

    def _callback(self, method: MethodSignature, columns: Mapping[DoFnParam, Column]) -> Call:
        return bind(method, (), {}, {}, provided=self._provided, columns=columns)

    def setup(self) -> None:
        for family in self._cells:
            with naming(f"{self.label}, setup"):
                family.combine_fn.setup()
        super().setup()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            for family in self._cells:
                with naming(f"{self.label}, teardown"):
                    family.combine_fn.teardown()

    # Elements

    def process(self, bundle: Bundle) -> None:
        timely = self._timely(bundle.exploded())
        if not timely.values:
            return
        keys = table_keys(self.label, timely, self._keyed.encode_key)
        if self._waiting is None:
            self._work(timely, keys)
            return
        late = self._waiting.add(timely, keys, self._present.watermark)
        if late is not None:
            self._work(*late)

    def _timely(self, bundle: Bundle) -> Bundle:
        """The elements whose windows have not expired; the others are counted."""
        if type(bundle.windows) is Intervals:
            bundle = Bundle(
                bundle.values, bundle.timestamps, Coded.of(bundle.windows.to_list()), bundle.panes
            )
        windows, watermark, expires = bundle.windows, self._present.watermark, self._records.expires
        if type(windows) is tuple:
            late = len(bundle.values) if windows and expires(windows[0]) <= watermark else 0
            timely = bundle.with_values([]) if late or not windows else bundle
        else:
            assert type(windows) is Coded
            gone = np.array([bool(entry) and expires(entry[0]) <= watermark for entry in windows.table])
            if not gone.any():
                return bundle
            keep = np.flatnonzero(~gone[windows.codes])
            late = len(bundle.values) - len(keep)
            timely = bundle.take(list(map(bundle.values.__getitem__, keep.tolist())), keep)
        count_late(self.container, late)
        return timely

    def _work(self, bundle: Bundle, keys: list[Any]) -> None:
        """Processes elements, in order."""
        working_set = self._working_set
        if working_set is None:
            self._work_on(bundle, keys)
            return
        at = 0
        for part in bundle.chunks(working_set.elements):
            own, at = keys[at : at + len(part.values)], at + len(part.values)
            self._work_on(part, own)
            working_set.added(part, self._records.places(part, own))
            self._settle()

    def _settle(self) -> None:
        """Moves records to disk if there are too many; nothing of them is in use."""
        if self._working_set is not None and not self._fresh:
            self._working_set.settle()

    def _work_on(self, bundle: Bundle, keys: list[Any]) -> None:
        present = self._present
        previous = set_current(self.container)
        try:
            self._column = self._records.column(bundle, keys)
            present.bundle, present.stamp = bundle, None
            self._process(bundle)
        finally:
            set_current(previous)
            self._column = []
        if self._snapshots.is_tracking:
            for table, own in self._records.by_table(bundle, keys):
                self._snapshots.touch(table, own)
        touched = self._records.places(bundle, keys) if present.cleared else ()
        present.cleared = False
        self._records.tidy(touched)

    def _process(self, bundle: Bundle) -> None:
        self._present.values = values = iter(bundle.values)
        results = self.call.over(values, bundle)
        if not self._generates:
            results = self._checked(results, bundle)
        outputs = chain.from_iterable(results)
        if bundle.is_uniform:
            for out in self._parts(outputs, values, bundle):
                self._send(bundle.with_values(out))
            return
        # An output belongs to the element that the iterator over the elements gave last.
        left = iter(values.__length_hint__, -1)  # type: ignore[attr-defined]
        for rows in self._parts(zip(outputs, left), values, bundle):
            outputs_of_part, behind = zip(*rows)
            self._send(bundle.take(list(outputs_of_part), len(bundle.values) - 1 - np.array(behind)))

    def _parts(self, outputs: Iterator[Any], values: Iterator[Any], bundle: Bundle) -> Iterator[list[Any]]:
        """Outputs as they are made, some at a time."""
        while True:
            part: list[Any] = []
            try:
                part.extend(islice(outputs, self._chunk))
            except BaseException as error:
                note_failure(error, self.label, bundle, position(values, bundle))
                raise
            if not part:
                return
            yield part

    def _checked(self, results: Iterator[Any], bundle: Bundle) -> Iterator[Any]:
        """What the calls gave, as far as it can be iterated."""
        count = 0
        for result in results:
            count += 1
            if result is None:
                continue
            yield result if type(result) in _SIZED else iterable_result(result, self.label)
        if count < len(bundle.values):
            # To map() the StopIteration of a function is the end of the elements.
            raise stopped_iteration()

    # Time

    def advance(self, watermark: int, now: int) -> None:
        self.tell_time(now)
        self._present.watermark = watermark
        self._is_behind = False
        if self._has_work():
            self._in_step(self._catch_up)

    def finish_input(self) -> None:
        self.advance(END_OF_TIME, WallClock().now_micros())

    def tell_time(self, now: int) -> None:
        first = self._present.now == UNKNOWN
        self._present.now = now
        if first:
            fresh, self._fresh[:] = self._fresh[:], []
            for cell in fresh:
                cell.family.written(cell)

    def _has_work(self) -> bool:
        return self.next_watermark() <= self._present.watermark or self.next_wakeup() <= self._present.now

    def _in_step(self, work: Callable[[], None]) -> None:
        """Runs what may call the DoFn outside of a bundle of elements, and sends what it gave."""
        previous = set_current(self.container)
        try:
            work()
            self._send_fired()
        finally:
            set_current(previous)

    def _catch_up(self) -> None:
        self._sweep()
        if self._waiting is not None:
            self._release()
        self._is_behind = not (self._fire_due() and self._expire_due())

    def _fire_due(self) -> bool:
        """Whether all timers that are due have been fired."""
        for count, timer in enumerate(self._timers.due(), 1):
            self._fire(timer)
            if count % _FIRED_MAX == 0:
                self._settle()
                if self._is_enough(count):
                    return False
        self._settle()
        return True

    def _expire_due(self) -> bool:
        """Whether all windows that have expired are forgotten."""
        keys = 0
        for table in self._records.expired(self._present.watermark):
            for _ in self._parts_of(table):
                for timer in self._timers.last_of(table):
                    self._fire(timer)
                keys += len(table.in_memory())
                self._expire(table)
                self._records.drop_all(table)
                if self._is_enough(keys):
                    self._records.put_off(table)
                    return False
        return True

    def _is_enough(self, count: int) -> bool:
        """Whether what follows has to wait for the next call: what a snapshot must tell, and outputs, are in memory."""
        return count >= _SLICE and self._snapshots.is_tracking

    def is_behind(self) -> bool:
        return self._is_behind

    def _parts_of(self, table: WindowTable) -> Iterable[None]:
        """Brings the records of a window that expires to memory part by part."""
        if self._working_set is None:
            return (None,)
        are_told = self._last_call is not None or self._snapshots.is_tracking
        return self._working_set.parts(table, are_told)

    def _sweep(self) -> None:
        """Forgets what has outlived its time."""
        while True:
            if self._working_set is not None:
                self._working_set.bring(LASTING, self._present.now, self._lasting)
            emptied = list(swept(self._lasting, self._present.now))
            for table, key in emptied:
                self._snapshots.touch(table, (key,))
            self._records.tidy(emptied)
            if not emptied or self._working_set is None:
                return
            self._settle()

    def _release(self) -> None:
        """Processes the elements that the watermark has passed; timers come between them as their times do."""
        assert self._waiting is not None
        interleaved = self._timers.has_events
        while (taken := self._waiting.take(self._present.watermark, interleaved)) is not None:
            bundle, keys = taken
            if interleaved:
                for timer in self._timers.due_events(bundle.timestamp_list()[0]):
                    self._fire(timer)
            self._send_fired()
            self._work(bundle, keys)

    def _fire(self, timer: KeyedTimer) -> None:
        time, hold = timer.time, timer.hold
        assert time is not None and hold is not None
        timer.unset()
        self._tag = timer.tag
        self._call(timer.family.call, timer.table, timer.key, time, hold, f"timer {timer.family.name!r}")
        self._tag = ""
        self._snapshots.touch(timer.table, (timer.key,))
        self._records.tidy([(timer.table, timer.key)])

    def _expire(self, table: WindowTable) -> None:
        """The last call for each key of a window that is about to be forgotten."""
        keys = table.in_memory()
        self._snapshots.touch(table, keys)
        if self._last_call is None:
            return
        self._present.expiring = True
        end = int(table.window.max_micros)
        try:
            for key in keys:
                self._call(self._last_call, table, key, end, end, "on_window_expiration")
        finally:
            self._present.expiring = False

    def _call(self, call: Call, table: WindowTable, key: Any, time: int, hold: int, what: str) -> None:
        """Calls back for a key and window, and keeps what it gives."""
        if self.skips is not None and self.skips(self._callback_of(what, table, key, time)):
            return
        self._column = [table[key]]
        self._present.stamp = hold
        try:
            result = call.once(Bundle([(user_key(key), None)], time, table.windows))
            outputs = iter(iterable_result(result, self.label))
            while part := list(islice(outputs, CHUNK)):
                self._fired.add(table.window, part, [hold] * len(part))
                if self._fired.is_full:
                    self._send_fired()
        except BaseException as error:
            if isinstance(error, StopIteration):
                error = stopped_iteration(error)
            if not isinstance(error, (KeyboardInterrupt, GeneratorExit)):
                add_failure(error, self._callback_of(what, table, key, time).failure())
            raise error
        finally:
            self._present.stamp = None

    def _callback_of(self, what: str, table: WindowTable, key: Any, time: int) -> Callback:
        return Callback(self.label, what, self._tag, user_key(key), time, table.window)

    def _send_fired(self) -> None:
        for bundle in self._fired.rest():
            bundle.panes = PANE_INFO_UNKNOWN
            self.outputs.send(bundle)

    # What is kept

    def hold(self) -> int:
        found = earliest(self._timers.hold(), self._first_waiting(), self._first_last_call())
        return END_OF_TIME if found is None else min(found, END_OF_TIME)

    def _first_waiting(self) -> int | None:
        return None if self._waiting is None else self._waiting.next_time()

    def _first_last_call(self) -> int | None:
        return None if self._last_calls is None else self._last_calls.next_time()

    def next_watermark(self) -> int:
        waiting = self._first_waiting()
        found = earliest(
            self._timers.next_event(),
            self._records.expirations.next_time(),
            None if waiting is None else waiting + 1,
        )
        return END_OF_TIME + 1 if found is None else found

    def next_wakeup(self) -> int:
        cold = None if self._working_set is None else self._working_set.next_time(LASTING)
        found = earliest(self._timers.next_processing(), self._lasting.next_time(), cold)
        return NEVER if found is None else found

    def holds(self) -> list[Hold]:
        found = self._timers.reasons(_HOLDS_MAX)
        if self._waiting is not None:
            found += [
                Hold(time, f"an element {place(key, window)} that waits for the watermark to pass it")
                for time, key, window in self._waiting.first(_HOLDS_MAX)
            ]
        if self._last_calls is not None:
            found += [
                Hold(time, f"on_window_expiration of {self._records.table(window).count()} keys in {window}")
                for window, time in self._last_calls.items()
            ]
        return sorted(found, key=lambda hold: hold.micros)[:_HOLDS_MAX]

    def entries(self) -> int:
        waiting = 0 if self._waiting is None else len(self._waiting)
        return len(self._records) + len(self._timers) + waiting

    def track_changes(self) -> None:
        self._snapshots.track()

    def changes_waiting(self) -> int:
        return self._snapshots.waiting()

    def drop_changes(self) -> list[Any]:
        return self._snapshots.drop()

    def changes(self) -> list[tuple[Any, Any]]:
        return [entry for columns in self.changed_columns(_COLUMN_MAX) for entry in columns.entries()]

    def changed_columns(self, count: int) -> Iterator[ChangedColumns]:
        return self._snapshots.columns(count)

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        self._snapshots.load(entries)
        self._settle()

    def load_pickled(self, columns: Iterable[PickledColumns]) -> None:
        self._snapshots.load_pickled(columns)
        self._settle()
