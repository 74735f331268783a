"""Hot keys: those that come so often that whoever has them has most of the work. Counted from samples, in little memory.

Counts are those of Misra and Gries (Finding repeated elements, 1982), of batches: with room for m keys, no key that has
more than one m-th of all is missed, and none is counted too high.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any

import attrs

from hornbeam.graph.model import Graph
from hornbeam.runners.engine.failures import short_repr

_KEYS_MAX = 512
#: Samples wanted between two questions, at least and at most; how densely they are taken follows.
_SAMPLES_MIN, _SAMPLES_MAX = 100, 500
_STRIDE_FIRST = 64
_STRIDE_MAX = 1 << 20
#: After so many questions what came before counts half.
_QUESTIONS_TO_HALVE = 20
_KEYS_TOLD = 5
#: A key with this share of the pairs, and so many times what an even share would be, is hot.
_SHARE_MIN = 0.1
_TIMES_EVEN_MIN = 1.5
#: Of fewer pairs nothing is said.
_PAIRS_MIN = 100
_SHOWN_MAX = 3

#: Composites that group by keys of their own making, few by design: what is in them has no hot keys of the author's.
_OWN_KEYS = ("hornbeam.io.", "hornbeam.transforms.combine.CombineGlobally", "hornbeam.transforms.reshuffle.")


class KeyCounts:
    """Counts keys; the seldom ones are forgotten when there are too many."""

    def __init__(self) -> None:
        self._counts: Counter[Any] = Counter()
        #: How often all keys together came.
        self.total = 0

    def add(self, keys: Iterable[Any], times: int = 1) -> None:
        """Each of the keys came so many times. Keys that cannot be hashed are told apart by their repr."""
        found = list(keys)
        self.total += times * len(found)
        try:
            new = Counter(found)
            self._merge(new, times)
        except Exception:  # keys of the author's, whose hash and comparison may raise anything
            self._merge(Counter(map(short_repr, found)), times)

    def _merge(self, new: Counter[Any], times: int) -> None:
        self._counts.update({key: times * count for key, count in new.items()})
        if len(self._counts) > 2 * _KEYS_MAX:
            kept = self._counts.most_common(_KEYS_MAX + 1)
            less = kept.pop()[1]
            self._counts = Counter({key: count - less for key, count in kept if count > less})

    def halve(self) -> None:
        """What came so far counts half."""
        self.total //= 2
        self._counts = Counter({key: count // 2 for key, count in self._counts.items() if count > 1})

    def __len__(self) -> int:
        return len(self._counts)

    def hottest(self, count: int = 1) -> list[tuple[str, int]]:
        """The keys that came most often, as short reprs, and how often."""
        return [(short_repr(key), times) for key, times in self._counts.most_common(count)]


@attrs.frozen
class KeySample:
    """What one worker knows of the keys of a step: about how many pairs came lately, of how many keys, and the hottest."""

    pairs: int
    keys: int
    hottest: tuple[tuple[str, int], ...]


class SampledKeys:
    """Looks at some of the pairs that come to a step: a few hundred a second, however many come."""

    def __init__(self) -> None:
        self._counts = KeyCounts()
        self._stride = _STRIDE_FIRST
        self._next = 0
        self._samples = 0
        self._questions = 0

    def look(self, pairs: Any) -> None:
        """Pairs that come. Which are looked at is left to chance, so that no rhythm in the data is taken for a key."""
        at, count = self._next, len(pairs)
        if at < count:
            span, found = 2 * self._stride - 1, []
            while at < count:
                found.append(pairs[at])
                at += 1 + int(random.random() * span)
            try:
                self._counts.add([key for key, _ in found], self._stride)
            except (TypeError, ValueError):
                pass  # no pairs: the step says so
            self._samples += len(found)
        self._next = at - count

    def sample(self) -> KeySample | None:
        """What is known of the time lately; None before anything came. To be asked regularly."""
        if self._samples > _SAMPLES_MAX:
            self._stride = min(2 * self._stride, _STRIDE_MAX)
        elif self._samples < _SAMPLES_MIN and self._stride > 1:
            self._stride //= 2
            self._next = min(self._next, 2 * self._stride - 2)
        self._samples = 0
        self._questions += 1
        if self._questions % _QUESTIONS_TO_HALVE == 0:
            self._counts.halve()
        counts = self._counts
        if not counts.total:
            return None
        return KeySample(counts.total, len(counts), tuple(counts.hottest(_KEYS_TOLD)))


def hot_keys(samples: Iterable[KeySample]) -> tuple[tuple[str, float], ...]:
    """The hot keys of a step over all its workers, each with its share of the pairs; the hottest first."""
    found = list(samples)
    pairs, keys = sum(sample.pairs for sample in found), sum(sample.keys for sample in found)
    if pairs < _PAIRS_MIN:
        return ()
    counts: Counter[str] = Counter()
    for sample in found:
        counts.update(dict(sample.hottest))
    least = max(_SHARE_MIN, _TIMES_EVEN_MIN / keys) if keys > 1 else 0.0
    shares = ((key, count / pairs) for key, count in counts.most_common(_SHOWN_MAX))
    return tuple((key, min(share, 1.0)) for key, share in shares if share >= least)


def has_own_keys(graph: Graph, label: str) -> bool:
    """Whether a step groups by keys that a composite of ours has made, as the shards of a sink."""
    return any(
        str(step.spec.get("transform", "")).startswith(_OWN_KEYS)
        for step in graph.transforms.values()
        if step.is_composite and label.startswith(f"{step.label}/")
    )
