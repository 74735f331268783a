"""ApproximateQuantiles: the N-tiles of a pcollection in little memory, with a bound on the error.

The accumulator keeps summaries (see `quantile_summary`) in levels: a full buffer becomes a summary, and two summaries
of one level merge and are pruned into one of the next, as a binary counter carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import repeat
from operator import itemgetter
from typing import Any, TypeVar

import attrs

from hornbeam.transforms.core import CombineFn, CombineGlobally, CombinePerKey
from hornbeam.transforms.display import DisplayDataItem
from hornbeam.transforms.ptransform import PTransform, label_from_callable
from hornbeam.transforms.quantile_summary import Summary, exact_summary, merge, prune, pruned_summary, query
from hornbeam.typehints import Any as AnyHint
from hornbeam.typehints import List

T = TypeVar("T")
K = TypeVar("K")

#: For how many elements the error bound holds unless told otherwise.
MAX_NUM_ELEMENTS = 10**9
#: Inputs up to this size are answered exactly.
BUFFER_SIZE_MIN = 2048
#: A summary has at least this many entries, even where the error bound would allow fewer.
SUMMARY_SIZE_MIN = 256

Key = Callable[[Any], Any]


@attrs.define
class QuantileSketch:
    """The accumulator: elements not yet summarised, and at most one summary for each level."""

    buffer: list[Any] = attrs.field(factory=list)
    levels: list[Summary | None] = attrs.field(factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self.buffer and not self.levels


class ApproximateQuantilesCombineFn(CombineFn):
    """The `num_quantiles` elements that cut the sorted input into equal parts, the least and greatest included.

    Every answer's rank is within `epsilon` times the input's weight of the rank asked for, as long as there
    are no more than `max_num_elements` inputs; inputs of up to `BUFFER_SIZE_MIN` elements are answered
    exactly. `epsilon` is 1 / num_quantiles unless given. Accumulator: a `QuantileSketch`.
    """

    def __init__(
        self,
        num_quantiles: int,
        epsilon: float | None = None,
        max_num_elements: int | None = None,
        key: Key | None = None,
        reverse: bool = False,
        weighted: bool = False,
        input_batched: bool = False,
    ) -> None:
        super().__init__()
        if num_quantiles < 2:
            raise ValueError(f"ApproximateQuantiles needs num_quantiles of 2 or more, found {num_quantiles}")
        if epsilon is not None and not 0 < epsilon < 1:
            raise ValueError(f"ApproximateQuantiles needs epsilon between 0 and 1, found {epsilon}")
        self._num_quantiles = num_quantiles
        self._key = key
        self._reverse = reverse
        self._weighted = weighted
        self._input_batched = input_batched
        self._summary_size, self._buffer_size = _sizes(
            epsilon or 1 / num_quantiles, max_num_elements or MAX_NUM_ELEMENTS
        )

    @classmethod
    def create(
        cls,
        num_quantiles: int,
        epsilon: float | None = None,
        max_num_elements: int | None = None,
        key: Key | None = None,
        reverse: bool = False,
        weighted: bool = False,
        input_batched: bool = False,
    ) -> ApproximateQuantilesCombineFn:
        """The constructor under another name."""
        return cls(num_quantiles, epsilon, max_num_elements, key, reverse, weighted, input_batched)

    def create_accumulator(self) -> QuantileSketch:
        """An empty sketch."""
        return QuantileSketch()

    def add_input(self, sketch: QuantileSketch, element: Any) -> QuantileSketch:
        """Buffer the element, or the batch of elements; summarise a full buffer."""
        if not self._input_batched:
            sketch.buffer.append(element)
        elif self._weighted:
            elements, weights = element
            sketch.buffer.extend(zip(elements, weights, strict=True))
        else:
            sketch.buffer.extend(element)
        if len(sketch.buffer) > self._buffer_size:
            self._flush(sketch)
        return sketch

    def merge_accumulators(self, sketches: Iterable[QuantileSketch]) -> QuantileSketch:
        """One sketch of all inputs."""
        merged = QuantileSketch()
        for sketch in sketches:
            for level, summary in enumerate(sketch.levels):
                if summary is not None:
                    self._insert(merged, summary, level)
            merged.buffer.extend(sketch.buffer)
            if len(merged.buffer) > self._buffer_size:
                self._flush(merged)
        return merged

    def extract_output(self, sketch: QuantileSketch) -> list[Any]:
        """The quantiles in order, fewer distinct ones than asked for when there are few elements."""
        summaries = [summary for summary in sketch.levels if summary is not None]
        if sketch.buffer:
            keys, elements, weights = self._in_order(sketch.buffer)
            summaries.append(exact_summary(zip(keys, elements, weights or repeat(1.0))))
        if not summaries:
            return []
        whole = summaries[0]
        for summary in summaries[1:]:
            whole = merge(whole, summary)
        step = whole[-1].rank_max / (self._num_quantiles - 1)
        inner = query(whole, (k * step for k in range(1, self._num_quantiles - 1)))
        quantiles = [whole[0].element, *(entry.element for entry in inner), whole[-1].element]
        return quantiles[::-1] if self._reverse else quantiles

    def infer_output_type(self, input_type: Any) -> Any:
        """A list of elements, whose type is known unless they come in batches or with weights."""
        return List[AnyHint if self._weighted or self._input_batched else input_type]

    def _flush(self, sketch: QuantileSketch) -> None:
        summary = pruned_summary(*self._in_order(sketch.buffer), self._summary_size)
        sketch.buffer = []
        self._insert(sketch, summary, 0)

    def _insert(self, sketch: QuantileSketch, summary: Summary, level: int) -> None:
        """Put a summary at its level; two of a level merge and move up."""
        levels = sketch.levels
        levels.extend([None] * (level + 1 - len(levels)))
        while (other := levels[level]) is not None:
            summary = prune(merge(other, summary), self._summary_size)
            levels[level] = None
            level += 1
            if level == len(levels):
                levels.append(None)
        levels[level] = summary

    def _in_order(self, buffer: list[Any]) -> tuple[list[Any], list[Any], list[float] | None]:
        """Keys, elements and weights of what was buffered, in the order of the keys."""
        key = self._key
        if not self._weighted:
            elements = sorted(buffer, key=key)
            return ([key(element) for element in elements] if key else elements), elements, None
        pairs = [_checked_weight(pair) for pair in buffer]
        pairs.sort(key=(lambda pair: key(pair[0])) if key else itemgetter(0))
        elements = [element for element, _ in pairs]
        return ([key(element) for element in elements] if key else elements), elements, [w for _, w in pairs]


class _Quantiles(PTransform[Any, Any]):
    """What the two forms of ApproximateQuantiles share: their parameters."""

    def __init__(
        self,
        num_quantiles: int,
        key: Key | None = None,
        reverse: bool = False,
        weighted: bool = False,
        input_batched: bool = False,
    ) -> None:
        super().__init__()
        self._num_quantiles = num_quantiles
        self._key = key
        self._reverse = reverse
        self._fn = ApproximateQuantilesCombineFn(
            num_quantiles, key=key, reverse=reverse, weighted=weighted, input_batched=input_batched
        )

    def display_data(self) -> dict[str, Any]:
        """The parameters."""
        key = label_from_callable(self._key) if self._key else None
        return {
            "num_quantiles": DisplayDataItem(self._num_quantiles, label="Quantile Count"),
            "key": DisplayDataItem(key, label="Record Comparer Key").drop_if_none(),
            "reverse": DisplayDataItem(self._reverse, label="Is Reversed"),
        }


class ApproximateQuantiles:
    """The N-tiles (quartiles, percentiles …) of all elements or of each key's values, as a list.

    The list has `num_quantiles` elements from the least to the greatest (the other way round with `reverse`),
    compared by `key` when given. An element's rank is off by at most 1 / num_quantiles of the input's size;
    inputs of up to 2048 elements are answered exactly. `weighted` takes (element, weight) pairs;
    `input_batched` takes lists of elements, or with `weighted` pairs (elements, weights).
    """

    class Globally(_Quantiles):
        """The quantiles of all elements, as one list; `[]` for empty input.

        >>> import hornbeam as beam
        >>> range(101) | beam.ApproximateQuantiles.Globally(5)
        [[0, 25, 50, 75, 100]]
        """

        def expand(self, pcoll: Any) -> Any:
            """Combine everything with `ApproximateQuantilesCombineFn`."""
            return pcoll | CombineGlobally(self._fn)

    class PerKey(_Quantiles):
        """The quantiles of each key's values, as (key, list).

        >>> import hornbeam as beam
        >>> [("a", n) for n in range(11)] | beam.ApproximateQuantiles.PerKey(3)
        [('a', [0, 5, 10])]
        """

        def expand(self, pcoll: Any) -> Any:
            """Combine each key's values with `ApproximateQuantilesCombineFn`."""
            return pcoll | CombinePerKey(self._fn)


def _sizes(epsilon: float, max_num_elements: int) -> tuple[int, int]:
    """How many entries a summary and how many elements the buffer holds, so that the error bound is kept."""
    size = SUMMARY_SIZE_MIN
    while True:
        buffer_size = max(2 * size, BUFFER_SIZE_MIN)
        prunings = math.ceil(math.log2(max(2.0, max_num_elements / buffer_size))) + 1
        if prunings <= 2 * epsilon * size:
            return size, buffer_size
        size = max(size + 1, math.ceil(prunings / (2 * epsilon)))


def _checked_weight(pair: tuple[Any, float]) -> tuple[Any, float]:
    if pair[1] < 0:
        raise ValueError(f"ApproximateQuantiles needs weights of 0 or more, found {pair[1]} for {pair[0]!r}")
    return pair
