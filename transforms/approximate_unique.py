"""ApproximateUnique: about how many distinct elements there are, from a sample of their hashes.

The estimate is that of the k minimum values (Bar-Yossef et al., "Counting Distinct Elements in a Data
Stream", 2002): hashes are spread evenly, so the k-th smallest tells how many there are. Its standard error is
1 / sqrt(k - 2).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, TypeVar

from hornbeam.coders import Coder, registry
from hornbeam.transforms.core import CombineFn, CombineGlobally, CombinePerKey
from hornbeam.transforms.ptransform import PTransform
from hornbeam.typehints import Tuple, with_input_types, with_output_types

T = TypeVar("T")
K = TypeVar("K")

_HASH_BYTES = 8
_HASH_SPACE = 1 << (8 * _HASH_BYTES)


@with_input_types(T)
@with_output_types(int)
class ApproximateUniqueCombineFn(CombineFn):
    """Estimates the number of distinct inputs. Accumulator: a `set` of the least hashes, at most `2 * size`.

    Two inputs are the same when `coder` encodes them alike. The count is exact below `sample_size`.
    """

    def __init__(self, sample_size: int, coder: Coder) -> None:
        super().__init__()
        self._sample_size = sample_size
        self._coder = coder.as_deterministic_coder("ApproximateUnique")

    def create_accumulator(self) -> set[int]:
        """No hashes."""
        return set()

    def add_input(self, hashes: set[int], element: Any) -> set[int]:
        """Add the hash of the encoded element; cut back once there are twice as many as needed."""
        digest = blake2b(self._coder.encode(element), digest_size=_HASH_BYTES).digest()
        hashes.add(int.from_bytes(digest, "big"))
        return hashes if len(hashes) <= 2 * self._sample_size else self.compact(hashes)

    def merge_accumulators(self, accumulators: Iterable[set[int]]) -> set[int]:
        """The least hashes of all."""
        merged: set[int] = set()
        for hashes in accumulators:
            merged = self.compact(merged | hashes)
        return merged

    def compact(self, hashes: set[int]) -> set[int]:
        """The `sample_size` least hashes."""
        if len(hashes) <= self._sample_size:
            return hashes
        return set(heapq.nsmallest(self._sample_size, hashes))

    def extract_output(self, hashes: set[int]) -> int:
        """The count while it is small, else the estimate."""
        if len(hashes) < self._sample_size:
            return len(hashes)
        greatest = max(self.compact(hashes))
        return round((self._sample_size - 1) * _HASH_SPACE / (greatest + 1))


class ApproximateUnique:
    """About how many distinct elements there are: exact while few, else within `error` in most cases.

    Give either `size`, the number of hashes kept (16 or more), or `error`, the relative error (0.01 to 0.5)
    that is kept with a probability of about 95 %.
    """

    @staticmethod
    def parse_input_params(size: int | None = None, error: float | None = None) -> int:
        """The sample size that `size` or `error` asks for; ValueError unless exactly one is given, in range."""
        if (size is None) == (error is None):
            given = "neither" if size is None else "both"
            raise ValueError(f"ApproximateUnique needs either size or error, found {given}")
        if size is not None:
            if not isinstance(size, int) or size < 16:
                raise ValueError(f"ApproximateUnique needs a size of 16 or more, found {size!r}")
            return size
        if not isinstance(error, int | float) or not 0.01 <= error <= 0.5:
            raise ValueError(f"ApproximateUnique needs an error between 0.01 and 0.5, found {error!r}")
        return math.ceil(4.0 / (error * error))

    @with_input_types(T)
    @with_output_types(int)
    class Globally(PTransform[Any, Any]):
        """The number of distinct elements; 0 for empty input.

        >>> import hornbeam as beam
        >>> ["a", "b", "a"] | beam.ApproximateUnique.Globally(size=16)
        [2]
        """

        def __init__(self, size: int | None = None, error: float | None = None) -> None:
            super().__init__()
            self.sample_size = ApproximateUnique.parse_input_params(size, error)

        def expand(self, pcoll: Any) -> Any:
            """Combine everything with `ApproximateUniqueCombineFn`."""
            coder = registry.get_coder(pcoll.element_type)
            return pcoll | CombineGlobally(ApproximateUniqueCombineFn(self.sample_size, coder))

    @with_input_types(Tuple[K, T])
    @with_output_types(Tuple[K, int])
    class PerKey(PTransform[Any, Any]):
        """The number of distinct values of each key.

        >>> import hornbeam as beam
        >>> [("a", 1), ("a", 2), ("a", 1)] | beam.ApproximateUnique.PerKey(error=0.1)
        [('a', 2)]
        """

        def __init__(self, size: int | None = None, error: float | None = None) -> None:
            super().__init__()
            self.sample_size = ApproximateUnique.parse_input_params(size, error)

        def expand(self, pcoll: Any) -> Any:
            """Combine the values of each key with `ApproximateUniqueCombineFn`."""
            return pcoll | CombinePerKey(
                ApproximateUniqueCombineFn(self.sample_size, registry.get_coder(Any))
            )
