"""What a task gives to later stages: pairs for groupings, dealt out by key, and pcollections that are kept whole.

    stage ── Channel.process ──► buffer ── flush ──► blocks of the task's own file ──► index, told when the task is done

An index counts only once the coordinator has it, so a task that dies leaves nothing but a file that nobody reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import attrs
import numpy as np

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.failures import Failure, add_failure, naming
from hornbeam.runners.engine.pairs import refuse_non_pairs
from hornbeam.runners.engine.sizes import mean_size
from hornbeam.runners.multiprocess.blocks import BlockFile, BlockRef
from hornbeam.runners.multiprocess.columns import (
    gathered,
    joined,
    joined_metadata,
    packed,
    packed_ints,
    part_of,
)
from hornbeam.runners.multiprocess.partition import Codes, Partitioner

#: Elements that a channel holds before it writes them.
FLUSH_ELEMENTS = 1 << 17
#: Elements of one block of a pcollection: so many are handed out together.
SPOOL_BLOCK = 1 << 14
_LOOK_EVERY = 1 << 13
#: Smaller bundles are gathered before their pairs are taken apart.
_APART_MIN = 128


@attrs.frozen(slots=True)
class Address:
    """Where blocks belong: a pcollection, or an input of a grouping step; and the partition of its keys."""

    target: str
    input: int = 0
    partition: int = 0


Index = list[tuple[Address, BlockRef]]


class TaskOutputs:
    """The channels of a worker, and the file of the task it is at."""

    def __init__(self, folder: str, bytes_max: int, compression: str = "") -> None:
        self._folder = folder
        self._bytes_max = bytes_max
        self._compression = compression
        self._channels: dict[tuple[str, int], Channel] = {}
        self._file: BlockFile | None = None
        self._abandoned: BlockFile | None = None
        self._index: Index = []
        self._bytes = 0

    def spool(self, pcollection: str, label: str) -> Channel:
        """The channel of a pcollection that is kept whole."""
        return self._channel(pcollection, 0, lambda: Channel(self, pcollection, label))

    def keyed(
        self, target: str, input_: int, label: str, partitions: int, encode: Callable[[Any], bytes]
    ) -> Channel:
        """The channel of pairs that are dealt out by key."""
        partitioner = Partitioner(partitions, encode)
        return self._channel(target, input_, lambda: KeyedChannel(self, target, label, input_, partitioner))

    def _channel(self, target: str, input_: int, make: Callable[[], Channel]) -> Channel:
        found = self._channels.get((target, input_))
        if found is None:
            found = self._channels[target, input_] = make()
        return found

    # A task

    def begin(self, path: str) -> None:
        """A task begins, whose file is to be there."""
        self.discard()
        self._file = BlockFile(path, self._compression)

    def finish(self) -> Index:
        """Writes what is left and gives the index of all that the task wrote."""
        assert self._file is not None
        for channel in self._channels.values():
            channel.flush()
        self._file.close()
        index, self._index, self._file = self._index, [], None
        self._bytes = 0
        return index

    def discard(self) -> None:
        """Forgets all that the task gave."""
        for channel in self._channels.values():
            channel.clear()
        if self._file is not None:
            self._file.discard()
        self._file, self._index, self._bytes = None, [], 0

    def abandon(self) -> None:
        """In a process that user code has forked: the task's file belongs to the worker, and is not touched again."""
        # Kept, as a file that is collected writes what it has buffered.
        self._abandoned, self._file = self._file, None

    # For channels

    def hold(self, size: int) -> None:
        """Counts bytes that a channel holds more; all channels write when it is too much together."""
        self._bytes += size
        if self._bytes > self._bytes_max:
            for channel in self._channels.values():
                channel.flush()
            self._bytes = 0

    def write(self, address: Address, columns: Any, count: int) -> None:
        """Writes a block."""
        assert self._file is not None
        self._index.append((address, self._file.append(columns, count)))

    def aside(self, bundle: Bundle) -> BlockRef:
        """Writes a bundle that another task takes over; it is in the file at once."""
        file = BlockFile(os.path.join(self._folder, f"given-{os.urandom(8).hex()}"), self._compression)
        columns = (packed(bundle.values), bundle.timestamps, bundle.windows, bundle.panes)
        ref = file.append(columns, len(bundle))
        file.close()
        return ref


class Channel:
    """Elements on their way into blocks, in the order in which they came."""

    elements_max = SPOOL_BLOCK

    def __init__(self, outputs: TaskOutputs, target: str, label: str) -> None:
        self._outputs = outputs
        self._target = target
        self._label = label
        self._held: list[Bundle] = []
        self._count = 0
        self._mean = 0
        self._unseen = 0

    def append(self, bundle: Bundle) -> None:
        """Takes the elements of a bundle."""
        count = len(bundle.values)
        if not count:
            return
        self._held.append(bundle)
        self._weigh(bundle, count)

    def _weigh(self, bundle: Bundle, count: int) -> None:
        """Counts elements that are held more, and writes all when it is enough."""
        self._count += count
        self._unseen -= count
        if self._unseen < 0:
            self._mean = 16 + mean_size(bundle.values)
            self._unseen = _LOOK_EVERY if self._mean < 1000 else 0
        if self._count >= self.elements_max:
            self.flush()
        else:
            self._outputs.hold(count * self._mean)

    def flush(self) -> None:
        """Writes what is held."""
        held, self._held, self._count = self._held, [], 0
        if held:
            with naming(self._label):
                self._write(gathered(held))

    def clear(self) -> None:
        """Forgets what is held."""
        self._held, self._count = [], 0

    def _write(self, bundle: Bundle) -> None:
        for part in bundle.chunks(self.elements_max):
            columns = (packed(part.values), part.timestamps, part.windows, part.panes)
            self._outputs.write(Address(self._target), columns, len(part))


class KeyedChannel(Channel):
    """Pairs on their way into blocks, dealt out by key.

    Pairs are taken apart as they come, while they are in the processor's cache.
    """

    elements_max = FLUSH_ELEMENTS

    def __init__(
        self, outputs: TaskOutputs, target: str, label: str, input_: int, partitioner: Partitioner
    ) -> None:
        super().__init__(outputs, target, label)
        self._input = input_
        self._partitioner = partitioner
        #: Bundles that have keys instead of pairs, and the values beside them.
        self._parts: list[tuple[Bundle, Any, Codes | None]] = []

    def append(self, bundle: Bundle) -> None:
        """Takes pairs."""
        count = len(bundle.values)
        if count < _APART_MIN:
            super().append(bundle)
            return
        self._parts.append(self._apart(bundle))
        self._weigh(bundle, count)

    def _apart(self, bundle: Bundle) -> tuple[Bundle, Any, Codes | None]:
        """A bundle with keys instead of pairs, and the values; TypeError for what is no pair."""
        pairs = bundle.values
        if type(pairs[0]) is not tuple:
            refuse_non_pairs(self._label, pairs)
        try:
            first, second = zip(*pairs, strict=True)
        except (TypeError, ValueError):
            refuse_non_pairs(self._label, pairs)
            raise
        keys, values = packed_ints(first), packed(second)
        codes = self._codes(keys) if type(keys) is not np.ndarray else None
        return Bundle(keys, bundle.timestamps, bundle.windows, bundle.panes), values, codes

    def _codes(self, keys: Any) -> Codes:
        try:
            return self._partitioner.codes(keys)
        except Exception as error:
            add_failure(error, Failure(self._label))
            raise

    def flush(self) -> None:
        held, self._held = self._held, []
        parts, self._parts, self._count = self._parts, [], 0
        with naming(self._label):
            if held:
                parts.append(self._apart(gathered(held)))
            if parts:
                self._write_parts(parts)

    def clear(self) -> None:
        super().clear()
        self._parts = []

    def _write_parts(self, parts: list[tuple[Bundle, Any, Codes | None]]) -> None:
        bundles = [bundle for bundle, _, _ in parts]
        keys = joined([bundle.values for bundle in bundles])
        values = joined([values for _, values, _ in parts])
        if type(keys) is np.ndarray:
            codes = self._codes(keys)
        else:
            codes = np.concatenate(
                [self._codes(bundle.values) if codes is None else codes for bundle, _, codes in parts]
            )
        whole = Bundle(keys, *joined_metadata(bundles))
        for code, index in _by_code(codes, self._partitioner.partitions):
            everything = len(index) == len(keys)
            lists = not everything and not (type(keys) is type(values) is np.ndarray)
            places = index.tolist() if lists else None
            pair = (
                (keys, values)
                if everything
                else (part_of(keys, index, places), part_of(values, index, places))
            )
            rest = whole if everything or whole.is_uniform else whole.take([], index)
            columns = (pair, rest.timestamps, rest.windows, rest.panes)
            self._outputs.write(Address(self._target, self._input, code), columns, len(index))


def _by_code(codes: Any, partitions: int) -> Iterator[tuple[int, Any]]:
    """Each code that there is, with the places where it stands, in order."""
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=partitions)).tolist()
    for code, (start, end) in enumerate(zip(chain((0,), ends), ends)):
        if end > start:
            yield code, order[start:end]
