"""The head of a stage of a stream: the one step of it that keeps anything from one bundle to the next.

    elements ──► Head ──► the steps fused behind it, which keep nothing
    watermark, clock ──►  │

    output watermark = min(input watermark, hold)          (The Dataflow Model, section 2.3; see docs/event-time.md)

A driver hands a head elements (`input(i)`), and between bundles tells it how far time has come (`advance`); whatever the
head has to say it emits from within those two calls. It asks it what it holds back and when it next wants to be called.
What a head keeps can be followed from snapshot to snapshot (`track_changes`, `changes`, `load`), entry by entry.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.operator import Operator, Receiver

#: The watermark when nothing more will come: later than the end of every window.
END_OF_TIME = NEVER
#: The watermark before anything is known.
BEGINNING_OF_TIME = -NEVER

#: In `changes`: the entry is gone.
DELETED: Any = type(
    "Deleted", (), {"__repr__": lambda self: "DELETED", "__reduce__": lambda self: "DELETED"}
)()


@attrs.frozen
class Hold:
    """What keeps an output watermark back: the earliest timestamp that outputs may still get, and why."""

    micros: int
    #: For people: "timer 'flush' of key 'a' in [0.0, 10.0)", "3 unfired panes, the first of key 'b' …".
    reason: str


@attrs.frozen
class ChangedColumns:
    """Changed entries whose names differ in the table key only: (key, *rest) has `contents` at the key's place."""

    keys: Sequence[Any]
    rest: tuple[Any, ...]
    contents: Sequence[Any]

    def entries(self) -> Iterator[tuple[Any, Any]]:
        """(name, content) of each entry."""
        for key, content in zip(self.keys, self.contents):
            yield (key, *self.rest), content


@attrs.frozen
class PickledColumns:
    """As ChangedColumns, of entries that a checkpoint has: contents are pickled."""

    keys: list[Any]
    rest: tuple[Any, ...]
    contents: list[bytes]

    def entries(self) -> Iterator[tuple[Any, Any]]:
        """(name, content) of each entry."""
        for key, content in zip(self.keys, self.contents):
            yield (key, *self.rest), pickle.loads(content)


def columns_of(entries: Iterable[tuple[Any, Any]]) -> list[ChangedColumns]:
    """Entries in columns, each of one rest of names."""
    found: dict[tuple[Any, ...], tuple[list[Any], list[Any]]] = {}
    for name, content in entries:
        keys, contents = found.setdefault(name[1:], ([], []))
        keys.append(name[0])
        contents.append(content)
    return [ChangedColumns(keys, rest, contents) for rest, (keys, contents) in found.items()]


@attrs.frozen
class Backlog:
    """What a source could give now and has not: None where it cannot tell."""

    elements: int | None = None
    bytes: int | None = None


class Head(Operator):
    """What may begin a stage. Subclasses emit through `self.emit`; the driver has opened a bundle when it calls them."""

    def input(self, index: int) -> Receiver:
        """What takes the elements of input `index` (in the order of the step's main inputs). Bundles are never empty."""
        return self.process

    def tell_time(self, now: int) -> None:
        """Processing time has come to `now`: elements that are handed in from here on come then. Emits nothing."""

    def advance(self, watermark: int, now: int) -> None:
        """Event time has come to `watermark` (never less than before), processing time to `now`: emits what is due.

        Called after the elements that came before; may be called again with the same times.
        """

    def is_behind(self) -> bool:
        """Whether `advance` left some of what is due to its next call, which should come before any element: a head that
        tracks changes does not give out very much at a time."""
        return False

    def hold(self) -> int:
        """The earliest timestamp that an output for what is kept now may get; END_OF_TIME when nothing is kept."""
        return END_OF_TIME

    def next_watermark(self) -> int:
        """The smallest watermark at which `advance` would do something; END_OF_TIME + 1 when none would."""
        return END_OF_TIME + 1

    def next_wakeup(self) -> int:
        """The processing time at which `advance` would next do something; NEVER when none is awaited."""
        return NEVER

    def holds(self) -> list[Hold]:
        """The reasons for `hold`, the earliest first: for `explain`. A handful at most."""
        return []

    def entries(self) -> int:
        """How many things are kept (keys with windows, timers): 0 when all has been given out and forgotten."""
        return 0

    def keep_within(self, memory_bytes_max: int) -> None:
        """From now on what is kept in memory takes about so much at most, for heads that keep something on disk as well."""

    def shared_bytes(self) -> int:
        """Of what is kept in memory, what copies of the process share with it for good, as it is never written to."""
        return 0

    # Snapshots: a head that is asked to track its changes can tell them, and begin from them elsewhere.

    def track_changes(self) -> None:
        """From now on remember which entries change."""

    def changes_waiting(self) -> int:
        """About how many entries `changes` would give, for heads where they may be many; they have `drop_changes`."""
        return 0

    def drop_changes(self) -> list[Any]:
        """Forgets the changes that wait: a copy of the process tells them. Gives what held them, in parts, to be let go of
        one by one when the copy has gone: until then every page in which a count of references changes is copied."""
        raise NotImplementedError(f"{type(self).__name__} must define drop_changes")

    def changes(self) -> list[tuple[Any, Any]]:
        """The entries that changed since the last call (or since tracking began), each (name, content) or (name, DELETED).

        A name is a tuple that begins with the table key it belongs to (see `engine.keys`) or with None for what
        belongs to no key. Names and contents can be pickled; the caller does so before the head is used again.
        """
        return []

    def changed_columns(self, count: int) -> Iterator[ChangedColumns]:
        """What `changes` would give, in columns of about so many keys at most."""
        yield from columns_of(self.changes())

    def load(self, entries: Iterable[tuple[Any, Any]]) -> None:
        """Takes over entries that `changes` gave, of this head or of another one of the same step, before any element.

        If time had come anywhere at the snapshot, `advance` to there comes before.
        """

    def load_pickled(self, columns: Iterable[PickledColumns]) -> None:
        """As `load`, of pickled contents; no name comes twice."""
        self.load(entry for part in columns for entry in part.entries())


class SourceHead(Head):
    """A head that makes elements: a root, or a splittable DoFn with restrictions to work on."""

    def is_ready(self, now: int) -> bool:
        """Whether there is work that can be done now; otherwise `next_wakeup` says when."""
        raise NotImplementedError(f"{type(self).__name__} must define is_ready")

    def work(self, now: int) -> None:
        """Does a limited piece of what is ready, and emits what it gives: some thousands of elements or some tens of
        milliseconds, whichever is first."""
        raise NotImplementedError(f"{type(self).__name__} must define work")

    def is_done(self) -> bool:
        """Whether no work is left, now or later, of what was given so far."""
        raise NotImplementedError(f"{type(self).__name__} must define is_done")

    def drain(self) -> None:
        """No new work: bounded restrictions are finished, unbounded ones end (RestrictionProvider.truncate)."""

    def backlog(self) -> Backlog:
        """What is there to be read behind where it is. May look at files and call user code; never raises."""
        return Backlog()

    def can_block(self) -> bool:
        """Whether `is_ready` may become true by itself before `next_wakeup` (another thread or process feeds it)."""
        return False


def feed(head: Head, bundle: Bundle, index: int = 0) -> None:
    """Gives a head elements at one of its inputs."""
    if bundle.values:
        head.input(index)(bundle)
