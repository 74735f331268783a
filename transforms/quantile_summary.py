"""Summaries of sorted, weighted values that know the rank of each to within a bound.

They are those of Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System" (2016), appendix A. Merging two
adds no error; pruning one to b + 1 entries adds 1 / b, so a summary that went through L prunings knows every
rank to within L / (2 * b) of its weight.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, repeat
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A value kept in a summary, with what is known of its rank.

    `rank_min` is at most the weight of all lesser values, `rank_max` at least that of all lesser or equal ones,
    and `weight` at most that of the equal ones.
    """

    key: Any
    rank_min: float
    rank_max: float
    weight: float
    element: Any

    @property
    def next_rank_min(self) -> float:
        """A lower bound for the rank_min of any greater value."""
        return self.rank_min + self.weight

    @property
    def previous_rank_max(self) -> float:
        """An upper bound for the rank_max of any lesser value."""
        return self.rank_max - self.weight


Summary = list[Entry]


def exact_summary(pairs: Iterable[tuple[Any, Any, float]]) -> Summary:
    """The summary of (key, element, weight) triples in the order of their keys; equal keys become one entry."""
    summary: Summary = []
    rank = 0.0
    for key, element, weight in pairs:
        if summary and not summary[-1].key < key:
            last = summary.pop()
            key, element, weight = last.key, last.element, last.weight + weight
            rank = last.rank_min
        summary.append(Entry(key, rank, rank + weight, weight, element))
        rank += weight
    return summary


def pruned_summary(keys: list[Any], elements: list[Any], weights: list[float] | None, size: int) -> Summary:
    """What `prune(exact_summary(...), size)` gives, without the entries that do not stay.

    The lists are in the order of the keys; without weights every element weighs 1.
    """
    if len(keys) <= size + 1:
        return exact_summary(zip(keys, elements, weights or repeat(1.0)))
    upto: Sequence[float] = list(accumulate(weights)) if weights else range(1, len(keys) + 1)
    total = upto[-1]
    summary: Summary = []
    end = 0  # of the last entry's run of equal keys
    for k in range(size + 1):
        index = (
            min(bisect_right(upto, k * total / size), len(keys) - 1)
            if 0 < k < size
            else (len(keys) - 1) * (k > 0)
        )
        if index < end:
            continue
        start = bisect_left(keys, keys[index], end, index + 1)
        end = bisect_right(keys, keys[index], index)
        rank_min = upto[start - 1] if start else 0.0
        weight = upto[end - 1] - rank_min
        summary.append(Entry(keys[start], rank_min, rank_min + weight, weight, elements[start]))
    return summary


def merge(left: Summary, right: Summary) -> Summary:
    """The summary of both inputs together; its relative error is the greater of the two."""
    merged: Summary = []
    i = j = 0
    left_below = right_below = 0.0
    left_total, right_total = left[-1].rank_max, right[-1].rank_max
    while i < len(left) or j < len(right):
        if j == len(right) or (i < len(left) and left[i].key < right[j].key):
            a = left[i]
            above = right[j].previous_rank_max if j < len(right) else right_total
            merged.append(Entry(a.key, a.rank_min + right_below, a.rank_max + above, a.weight, a.element))
            left_below = a.next_rank_min
            i += 1
        elif i == len(left) or right[j].key < left[i].key:
            b = right[j]
            above = left[i].previous_rank_max if i < len(left) else left_total
            merged.append(Entry(b.key, b.rank_min + left_below, b.rank_max + above, b.weight, b.element))
            right_below = b.next_rank_min
            j += 1
        else:
            a, b = left[i], right[j]
            ranks = a.rank_min + b.rank_min, a.rank_max + b.rank_max
            merged.append(Entry(a.key, *ranks, a.weight + b.weight, a.element))
            left_below, right_below = a.next_rank_min, b.next_rank_min
            i += 1
            j += 1
    return merged


def query(summary: Summary, ranks: Iterable[float]) -> Iterator[Entry]:
    """For each of `ranks`, which must not decrease, the entry nearest to it."""
    i = 0
    for rank in ranks:
        while (
            i + 1 < len(summary) and 2 * rank >= summary[i].next_rank_min + summary[i + 1].previous_rank_max
        ):
            i += 1
        yield summary[i]


def prune(summary: Summary, size: int) -> Summary:
    """At most `size + 2` of the entries, evenly spread over the ranks, the first and the last among them."""
    if len(summary) <= size + 1:
        return summary
    total = summary[-1].rank_max
    kept = [summary[0]]
    for entry in query(summary, (k * total / size for k in range(1, size))):
        if entry is not kept[-1]:
            kept.append(entry)
    if kept[-1] is not summary[-1]:
        kept.append(summary[-1])
    return kept
