"""GroupIntoBatches: the values of each key in lists of a given size.

Bounded input is grouped, then each group cut, so that no key has to fit in memory. Unbounded input is buffered in state, by
key and window, until a batch is full, its time is up, or the window ends.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from hornbeam import typehints
from hornbeam.coders import registry
from hornbeam.transforms.core import DoFn, FlatMap, GroupByKey, ParDo
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from hornbeam.typehints import List, Tuple
from hornbeam.typehints.sharded_key_type import ShardedKeyTypeConstraint
from hornbeam.utils.sharded_key import ShardedKey

K = TypeVar("K")
V = TypeVar("V")

GROUP_INTO_BATCHES_URN = "beam:transform:group_into_batches:v1"
GROUP_INTO_BATCHES_WITH_SHARDED_KEY_URN = "beam:transform:group_into_batches_with_sharded_key:v1"


class _Batches(PTransform[Any, Any]):
    """What the two forms of GroupIntoBatches share: their parameters and how they are checked."""

    urn: str

    def __init__(
        self,
        batch_size: int,
        max_buffering_duration_secs: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise ValueError(
                f"GroupIntoBatches needs batch_size to be an int of 1 or more, found {batch_size!r}"
            )
        if max_buffering_duration_secs is not None and max_buffering_duration_secs < 0:
            raise ValueError(
                "GroupIntoBatches needs max_buffering_duration_secs of 0 or more, found "
                f"{max_buffering_duration_secs!r}"
            )
        self.batch_size = batch_size
        self.max_buffering_duration_secs = max_buffering_duration_secs
        self.clock = clock

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """The URN, and the parameters to be read."""
        return GraphParts(
            self.urn,
            {
                "batch_size": self.batch_size,
                "max_buffering_duration_secs": self.max_buffering_duration_secs,
            },
        )

    def _batched(self, pcoll: Any, key_type: Any) -> Any:
        if not pcoll.is_bounded:
            buffered = ParDo(_Buffer(self.batch_size, self.max_buffering_duration_secs, self.clock))
            step = buffered.with_input_types(Tuple[key_type, V]).with_output_types(Tuple[key_type, List[V]])
            return pcoll | "Buffer" >> step
        batch_size = self.batch_size

        def cut(group: tuple[Any, Iterable[Any]]) -> Iterator[tuple[Any, list[Any]]]:
            key, values = group
            rest = iter(values)
            while batch := list(islice(rest, batch_size)):
                yield key, batch

        step = FlatMap(cut).with_input_types(Tuple[key_type, typehints.Iterable[V]])
        return pcoll | GroupByKey() | "Cut" >> step.with_output_types(Tuple[key_type, List[V]])


class _Buffer(DoFn):
    """Keeps the values of a key and window until there are enough of them, or it is time."""

    VALUES = BagStateSpec("values", registry.get_coder(object))
    COUNT = ReadModifyWriteStateSpec("count", registry.get_coder(int))
    WINDOW_ENDS = TimerSpec("window_ends", TimeDomain.WATERMARK)
    WAITED = TimerSpec("waited", TimeDomain.REAL_TIME)

    def __init__(self, batch_size: int, waits_secs: float | None, clock: Callable[[], float]) -> None:
        super().__init__()
        self._batch_size = batch_size
        self._waits_secs = waits_secs
        self._clock = clock

    def process(
        self,
        element: tuple[Any, Any],
        window: Any = DoFn.WindowParam,
        values: Any = DoFn.StateParam(VALUES),
        count: Any = DoFn.StateParam(COUNT),
        window_ends: Any = DoFn.TimerParam(WINDOW_ENDS),
        waited: Any = DoFn.TimerParam(WAITED),
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Add the value; give the batch if it is full."""
        key, value = element
        values.add(value)
        size = (count.read() or 0) + 1
        if size >= self._batch_size:
            batch = list(values.read())
            self._begin(values, count, window_ends, waited)
            yield key, batch
            return
        count.write(size)
        if size == 1:
            window_ends.set(window.max_timestamp())
            if self._waits_secs:
                waited.set(self._clock() + self._waits_secs)

    @on_timer(WINDOW_ENDS)
    def on_window_end(
        self,
        key: Any = DoFn.KeyParam,
        values: Any = DoFn.StateParam(VALUES),
        count: Any = DoFn.StateParam(COUNT),
        window_ends: Any = DoFn.TimerParam(WINDOW_ENDS),
        waited: Any = DoFn.TimerParam(WAITED),
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Give what is there."""
        batch = list(values.read())
        self._begin(values, count, window_ends, waited)
        yield key, batch

    @on_timer(WAITED)
    def on_waited(
        self,
        key: Any = DoFn.KeyParam,
        values: Any = DoFn.StateParam(VALUES),
        count: Any = DoFn.StateParam(COUNT),
        window_ends: Any = DoFn.TimerParam(WINDOW_ENDS),
        waited: Any = DoFn.TimerParam(WAITED),
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Give what is there."""
        return self.on_window_end(key, values, count, window_ends, waited)

    def _begin(self, values: Any, count: Any, window_ends: Any, waited: Any) -> None:
        values.clear()
        count.clear()
        window_ends.clear()
        waited.clear()


class GroupIntoBatches(_Batches):
    """The values of each key and window in lists of `batch_size`; only the last of each may be shorter.

    The result is (key, list of values). `max_buffering_duration_secs` bounds how long a value may wait for its
    batch to fill in unbounded input (seconds of processing time; no bound if it is None or 0); bounded input is never
    held up by it. When the window ends, what is left comes as a smaller batch. Late values make batches of their own.

    >>> import hornbeam as beam
    >>> pairs = [("a", 1), ("a", 2), ("a", 3), ("b", 4)]
    >>> sorted((key, len(values)) for key, values in pairs | beam.GroupIntoBatches(2))
    [('a', 1), ('a', 2), ('b', 1)]
    """

    urn = GROUP_INTO_BATCHES_URN

    def expand(self, pcoll: Any) -> Any:
        """Group by key, then cut each group into lists."""
        return self._batched(pcoll, K)

    class WithShardedKey(_Batches):
        """As `GroupIntoBatches`, but a key's values may be spread over several workers.

        Each worker that sees a key makes batches of its own, so that one hot key does not wait for one worker.
        The result is (ShardedKey(key, shard), list of values).

        >>> import hornbeam as beam
        >>> [(sharded.key, values) for sharded, values in [("a", 1)] | beam.GroupIntoBatches.WithShardedKey(2)]
        [('a', [1])]
        """

        urn = GROUP_INTO_BATCHES_WITH_SHARDED_KEY_URN

        def expand(self, pcoll: Any) -> Any:
            """Add the shard to the key, then group and cut."""
            shard = ParDo(_ShardKeys()).with_input_types(Tuple[K, V])
            sharded = pcoll | "Shard keys" >> shard.with_output_types(Tuple[ShardedKeyTypeConstraint(K), V])
            return self._batched(sharded, ShardedKeyTypeConstraint(K))


class _ShardKeys(DoFn):
    """Gives every key the shard of the thread that works on it."""

    def setup(self) -> None:
        """A shard name no other worker has."""
        self._worker = uuid.uuid4().bytes

    def process(self, element: tuple[Any, Any]) -> Iterator[tuple[ShardedKey[Any], Any]]:
        """Replace the key by its sharded form."""
        key, value = element
        yield ShardedKey(key, self._worker + threading.get_ident().to_bytes(8, "big")), value
