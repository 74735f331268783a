"""GroupIntoBatches: the values of each key in lists of a given size."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from hornbeam import typehints
from hornbeam.error import TransformError
from hornbeam.transforms.core import DoFn, FlatMap, GroupByKey, ParDo
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
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
        batch_size = self.batch_size

        def cut(group: tuple[Any, Iterable[Any]]) -> Iterator[tuple[Any, list[Any]]]:
            key, values = group
            rest = iter(values)
            while batch := list(islice(rest, batch_size)):
                yield key, batch

        step = FlatMap(cut).with_input_types(Tuple[key_type, typehints.Iterable[V]])
        return pcoll | GroupByKey() | "Cut" >> step.with_output_types(Tuple[key_type, List[V]])

    def _refuse_unbounded(self, pcoll: Any) -> None:
        if not pcoll.is_bounded:
            raise TransformError(
                f"GroupIntoBatches at {self.label!r} can batch bounded input only; {pcoll} is unbounded. Use "
                "BatchElements, which makes batches within bundles."
            )


class GroupIntoBatches(_Batches):
    """The values of each key and window in lists of `batch_size`; only the last of each may be shorter.

    The result is (key, list of values). `max_buffering_duration_secs` bounds how long a value may wait for its
    batch to fill in unbounded input; bounded input is never held up by it.

    >>> import hornbeam as beam
    >>> pairs = [("a", 1), ("a", 2), ("a", 3), ("b", 4)]
    >>> sorted((key, len(values)) for key, values in pairs | beam.GroupIntoBatches(2))
    [('a', 1), ('a', 2), ('b', 1)]
    """

    urn = GROUP_INTO_BATCHES_URN

    def expand(self, pcoll: Any) -> Any:
        """Group by key, then cut each group into lists."""
        self._refuse_unbounded(pcoll)
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
            self._refuse_unbounded(pcoll)
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
