"""Which records of a stateful step are in memory, and which are on disk: those that were not used for longest.

    used ──► young ── a generation passes ──► old ── not used meanwhile ──► ColdStore of the window
               ▲                               │ used                          │ used, due, or the window expires
               └───────────────────────────────┴───────────────────────────────┘

Nothing is done when a record is used that is young, so records in use cost what they cost without a limit. A generation is
over when all that was old has been used or has gone to disk. Sizes are estimated from samples. What has to be in memory
besides: records of one piece of work (a part of a bundle, some timers, some keys of a window that expires), and the
indexes of what is on disk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.cold_store import ColdRecord, ColdStore, Entry, first_of_each_kind
from hornbeam.runners.engine.failures import Failure, add_failure
from hornbeam.runners.engine.keyed_records import KeyedRecords, Place, Record, WindowTable
from hornbeam.runners.engine.record_contents import TIMERS, Content, RecordContents, memory_bytes
from hornbeam.runners.engine.sizes import mean_size, size_of
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.timer_queue import TimerQueue

#: What brings a record back by itself: a timer of either domain, and a cell whose time to live is over; and what holds time.
EVENTS, PROCESSING, HELD, LASTING = range(4)

#: Records that come back, or go, at a time; fewer where they are large.
_PIECE_MAX = 4096
_PIECE_MIN = 16
_SAMPLE = 64
#: What an element may make grow besides its value.
_ELEMENT_BYTES = 64


class WorkingSet:
    """Moves records of one step between memory and disk, so that those in memory take about `limit` bytes."""

    def __init__(
        self, label: str, records: KeyedRecords, contents: RecordContents, space: TemporarySpace, limit: int
    ) -> None:
        self._label = label
        self._records = records
        self._contents = contents
        self._space = space
        self.limit = limit
        #: Windows by the earliest time at which a record of theirs on disk must come back, by kind.
        self._wakes: list[TimerQueue[WindowTable]] = [TimerQueue() for _ in range(4)]
        #: Old records that may go to disk, by window; those to go next last.
        self._next_out: list[tuple[WindowTable, list[Any]]] = []
        #: Some records of which the mean size is taken, and those that are far larger.
        self._sample: deque[Place] = deque(maxlen=_SAMPLE)
        self._large: dict[Place, int] = {}
        self._mean = 0
        #: What else is kept for the records in memory, in bytes.
        self.besides: Callable[[], int] = int
        #: How many records were in memory at the last look while some were loaded.
        self._looked_at = 0
        #: How many bytes came since the last look at the sample.
        self._unseen = 0
        records.fetch, records.sampled = self.fetch, self.sampled

    # How much there is

    @property
    def piece(self) -> int:
        """How many records may be brought to memory at once."""
        fits = self.limit // 8 // max(1, self._mean)
        return max(_PIECE_MIN, min(_PIECE_MAX, fits))

    @property
    def timers(self) -> int:
        """How many timers the records on disk have set."""
        return sum(store.timers for store in self._stores())

    def _stores(self) -> Iterator[ColdStore]:
        return (table.cold for table in self._records.tables.values() if table.cold is not None)

    @property
    def elements(self) -> int:
        """How many elements may be worked on at once, should each have a record of its own."""
        return max(_PIECE_MIN, self.limit // 8 // max(1, self._mean))

    def added(self, bundle: Bundle, places: Iterable[Place]) -> None:
        """Records were used for the elements of a bundle; notes how large they are, now and then."""
        self._unseen += len(bundle.values) * (_ELEMENT_BYTES + mean_size(bundle.values))
        if self._unseen > self.limit >> 6:
            step = max(1, len(bundle.values) // 8)
            self._look([place for at, place in enumerate(places) if at % step == 0])

    def sampled(self, made: list[Place]) -> None:
        """Records are new in memory."""
        self._sample.extend(made[:: len(made) // 8 + 1])

    def _look(self, used: Iterable[Place] = ()) -> None:
        self._unseen = 0
        sizes = {place: size for place in self._sample if (size := self._size(*place))}
        self._mean = sum(sizes.values()) // len(sizes) if sizes else self._mean
        large = {place: self._size(*place) for place in (*self._large, *used)}
        self._large = {
            place: size for place, size in large.items() if size > max(4 * self._mean, self.limit >> 8)
        }

    def _size(self, table: WindowTable, key: Any) -> int:
        record = table.held(key)
        return 0 if record is None else size_of(key) + memory_bytes(record)

    def _excess(self) -> int:
        """How many records too many are in memory."""
        held = self._records.in_memory
        if not self._mean and held:
            self._look()
        room = self.limit - self.index_bytes() - sum(self._large.values()) - self.besides()
        if held * self._mean <= room:
            return 0
        return held - max(0, room - room // 16) // max(1, self._mean)

    def index_bytes(self) -> int:
        """What the indexes of what is on disk take."""
        return sum(store.memory_bytes for store in self._stores())

    # To disk

    def settle(self) -> None:
        """Moves records to disk if there are too many. No record may be in use."""
        left = self._excess()
        while left > 0:
            if not self._next_out:
                self._let_age()
                # What is hot gets a chance to be used again before it is taken for cold.
                if left < self._records.in_memory >> 3 or not self._next_out:
                    return
            table, keys = self._next_out[-1]
            going = keys[-min(left, _PIECE_MAX) :]
            del keys[-len(going) :]
            left -= self._move(table, going[::-1])
            if not keys:
                self._next_out.pop()

    def _let_age(self) -> None:
        for table in self._records.tables.values():
            table.old = {**table.old, **table} if table.old else dict(table)
            table.clear()
            if table.old:
                self._next_out.append((table, list(reversed(table.old))))

    def _move(self, table: WindowTable, keys: list[Any]) -> int:
        """Moves those of the keys that are still old."""
        old = [(key, record) for key in keys if (record := table.old.get(key)) is not None]
        if not old:
            return 0
        self._put(table, ((key, self._contents.content(record), None) for key, record in old))
        for key, record in old:
            del table.old[key]
            self._leave(record)
        self._records.in_memory -= len(old)
        return len(old)

    def has_room(self) -> bool:
        """Whether more of what is loaded may stay in memory; half of that is left to what will be used."""
        if self._records.in_memory > self._looked_at + self._looked_at // 8:
            self._looked_at = self._records.in_memory
            self._look()
        return self._records.in_memory * self._mean + self.index_bytes() < self.limit // 2

    def put_away(self, window: Any, keys: list[Any], contents: list[Content], pickled: list[bytes]) -> None:
        """Puts contents to disk as they are pickled. None of the keys may have a record in the window."""
        if not keys:
            return
        table = self._records.table(window)
        if self._contents.may_wake:
            self._put(table, zip(keys, contents, pickled))
        else:
            self._store(table).put_pickled(keys, pickled)

    def _put(self, table: WindowTable, records: Iterable[tuple[Any, Content, bytes | None]]) -> None:
        store = self._store(table)
        try:
            store.put([self._cold(table, *record) for record in records])
        except Exception as error:
            self._note(error, table)
            raise
        self._know_wakes(table)

    def _store(self, table: WindowTable) -> ColdStore:
        if table.cold is None:
            table.cold = ColdStore(self._space, "state", len(self._wakes))
            self._records.has_cold = True
        return table.cold

    def _leave(self, record: Record) -> None:
        """A record is in memory no more."""
        for family, cell in zip(self._records.families, record):
            family.dropped(cell)

    def _cold(self, table: WindowTable, key: Any, content: Content, pickled: bytes | None) -> ColdRecord:
        times = [(LASTING, expires) for expires in self._contents.ends(content)]
        for family, time, hold in self._contents.timers(content):
            due = family.due(table, time)
            times.append((EVENTS if family.is_event_time else PROCESSING, due))
            if family.holds_apart(hold, due):
                times.append((HELD, hold))
        return ColdRecord(key, content, first_of_each_kind(times), len(content.get(TIMERS, ())), pickled)

    def _note(self, error: Exception, table: WindowTable) -> None:
        key = getattr(error, "hornbeam_key", None)
        where = None if isinstance(error, OSError) else str(table.window)
        add_failure(
            error, Failure(f"{self._label}, moving state to disk (--memory_limit)", key=key, window=where)
        )

    def _know_wakes(self, table: WindowTable) -> None:
        """Brings the queues of windows up to date after records came or went."""
        if table.cold is not None and not len(table.cold):
            table.cold.delete()
            table.cold = None
        for kind, queue in enumerate(self._wakes):
            time = None if table.cold is None else table.cold.next_time(kind)
            if time is None:
                queue.clear(table)
            elif queue.time_of(table) != time:
                queue.set(table, time)

    # Back to memory

    def fetch(self, table: WindowTable, keys: Iterable[Any]) -> None:
        """Brings the records of keys back that are on disk."""
        old = table.old  # `set.difference` would walk through all of the table
        wanted = {key for key in keys if key not in table and key not in old}
        if wanted and table.cold is not None:
            self._bring_back(table, table.cold.take(wanted))

    def _bring_back(self, table: WindowTable, entries: list[Entry]) -> None:
        for key, content in entries:
            record = table.new(key)
            self._contents.set_timers(self._contents.restore(record, content))
        if entries:
            self._records.in_memory += len(entries)
            self.sampled([(table, key) for key, _ in entries])
            self._know_wakes(table)

    def bring(self, kind: int, until: int, queue: TimerQueue[Any]) -> None:
        """Brings records back that are due up to `until`, if they are due before everything in the queue."""
        while (first := self._wakes[kind].first()) is not None and first[0] <= until:
            ahead = queue.next_time()
            if ahead is not None and ahead <= first[0]:
                return
            table = first[1]
            assert table.cold is not None
            self._bring_back(table, table.cold.take_due(kind, until, self.piece))

    def parts(self, table: WindowTable, are_told: bool) -> Iterator[None]:
        """Brings all records of a window to memory, some at a time: those before have been dropped by then.

        Unless something is `told` of each of them, or has a timer on the clock, they are forgotten where they are.
        """
        yield
        if table.cold is not None and not are_told and table.cold.next_time(PROCESSING) is None:
            table.cold.delete()
            self._know_wakes(table)
        if table.cold is not None:
            for entries in table.cold.drain(self.piece):
                self._bring_back(table, entries)
                yield

    # What is on disk

    def next_time(self, kind: int) -> int | None:
        """The earliest time at which a record on disk must come back."""
        return self._wakes[kind].next_time()

    def peek(self, table: WindowTable, keys: Iterable[Any]) -> dict[Any, Content]:
        """The contents of records on disk, which stay there."""
        return {} if table.cold is None else dict(table.cold.peek(keys))

    def first_timers(self, count: int) -> list[tuple[int, str, str, Any, Any]]:
        """Timers on disk that hold time back most: hold, name, tag, table key and window."""
        found = []
        for kind in (EVENTS, HELD):
            first = self._wakes[kind].first()
            if first is not None and first[1].cold is not None:
                for key, content in first[1].cold.first(kind, count):
                    timers = content.get(TIMERS, ())
                    found += [(hold, name, tag, key, first[1].window) for _, name, tag, _, hold in timers]
        return found
