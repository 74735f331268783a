"""ColdIndex: where on disk the records of a store are, in 9 bytes of memory each.

A *ref* is a record's hash in the upper 32 bits and its address in the lower ones. Refs lie in sorted runs, which are merged
as they become alike in length, so that a few binary searches find a hash however many there are. A run is never written to
again, so that a copy of the process that is made meanwhile shares it: that a ref's record has left the store is marked in a
byte beside, and a run without those that have left takes its place when these are many.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import numpy as np
import numpy.typing as npt

Refs = npt.NDArray[np.uint64]

#: Where refs lie: the number of the run, and the place in it.
Spots = npt.NDArray[np.int64]

_ADDRESS = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
#: Longer runs are not merged, so that no merge takes long, or much memory.
RUN_MAX = 1 << 20
_GONE_MIN = 1024
#: The part of a run, at most, that is of records that have left: one of so many.
_GONE_SHARE = 4
_RUN_SHIFT = 32
_IN_RUN = (1 << _RUN_SHIFT) - 1


def hashes_of(keys: Iterable[object], count: int) -> Refs:
    """32-bit hashes of table keys, good for this process."""
    plain = np.fromiter(map(hash, keys), dtype=np.int64, count=count).view(np.uint64)
    mixed: Refs = ((plain ^ (plain >> _HALF)) * _MIX) >> _HALF
    return mixed


def refs_of(hashes: Refs, addresses: Refs) -> Refs:
    """The refs of records with these hashes at these addresses."""
    return (hashes << _HALF) | addresses


def addresses_of(refs: Refs) -> Refs:
    """The addresses in refs."""
    return refs & _ADDRESS


@attrs.define
class _Run:
    """Sorted refs, and which of them are of records that have left the store."""

    refs: Refs
    gone: npt.NDArray[np.bool_]
    gone_count: int = 0

    @classmethod
    def of(cls, refs: Refs) -> _Run:
        refs.flags.writeable = False
        return cls(refs, np.zeros(len(refs), dtype=np.bool_))

    def __len__(self) -> int:
        return len(self.refs)

    def left(self) -> Refs:
        """The refs of records that are in the store."""
        return self.refs[~self.gone] if self.gone_count else self.refs

    def mark(self, at: npt.NDArray[np.intp]) -> None:
        """The records of these refs have left."""
        self.gone[at] = True
        self.gone_count += len(at)

    @property
    def is_loose(self) -> bool:
        """Whether so many have left that the others should be moved together."""
        return self.gone_count * _GONE_SHARE > len(self.refs) + _GONE_MIN

    def matches(self, hashes: Refs) -> Iterable[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """Places in `hashes`, and those in the run where the same hash is and not gone."""
        refs = self.refs
        at = np.searchsorted(refs, hashes << _HALF)
        which = np.flatnonzero((refs[np.minimum(at, len(refs) - 1)] >> _HALF) == hashes)
        at = at[which]
        while len(which):
            inside = at < len(refs)
            at, which = at[inside], which[inside]
            same = (refs[at] >> _HALF) == hashes[which]
            at, which = at[same], which[same]
            there = ~self.gone[at]
            if there.any():
                yield which[there], at[there]
            at = at + 1


class ColdIndex:
    """The refs of one store."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def memory_bytes(self) -> int:
        """What the runs take."""
        return sum(run.refs.nbytes + run.gone.nbytes for run in self._runs)

    def add(self, refs: Refs) -> None:
        """Adds the refs of new records."""
        if not len(refs):
            return
        self._runs.append(_Run.of(np.sort(refs)))
        self._count += len(refs)
        runs = self._runs
        while len(runs) > 1 and _are_alike(runs[-2], runs[-1]):
            last = runs.pop()
            runs[-1] = _merged(runs[-1], last)

    def find(self, hashes: Refs) -> tuple[Refs, Spots]:
        """The refs of the records that have one of the hashes, and where these lie. No hash comes twice; sorted is best."""
        refs: list[Refs] = [np.zeros(0, dtype=np.uint64)]
        spots: list[Spots] = [np.zeros(0, dtype=np.int64)]
        for number, run in enumerate(self._runs):
            for _, at in run.matches(hashes):
                refs.append(run.refs[at])
                spots.append(at | number << _RUN_SHIFT)
        return np.concatenate(refs), np.concatenate(spots)

    def are_there(self, refs: Refs) -> npt.NDArray[np.bool_]:
        """Which of the refs are in the index."""
        found = np.zeros(len(refs), dtype=np.bool_)
        hashes = refs >> _HALF
        for run in self._runs:
            for which, at in run.matches(hashes):
                found[which[run.refs[at] == refs[which]]] = True
        return found

    def remove(self, refs: Refs) -> None:
        """Takes out refs that are in the index."""
        hashes = refs >> _HALF
        for run in self._runs:
            for which, at in list(run.matches(hashes)):
                run.mark(at[run.refs[at] == refs[which]])
        self._removed(len(refs))

    def remove_at(self, spots: Spots) -> None:
        """Takes out refs where `find` found them, if nothing was added or removed since."""
        numbers = spots >> _RUN_SHIFT
        for number in np.unique(numbers).tolist():
            self._runs[number].mark(spots[numbers == number] & _IN_RUN)
        self._removed(len(spots))

    def _removed(self, count: int) -> None:
        self._count -= count
        if not any(run.is_loose for run in self._runs):
            return
        kept: list[_Run] = []
        for run in self._runs:
            if run.is_loose:
                run = _Run.of(run.left())
            if kept and len(kept[-1]) + len(run) <= RUN_MAX // 2:
                kept[-1] = _merged(kept[-1], run)
            else:
                kept.append(run)
        self._runs = [run for run in kept if len(run)]


def _merged(first: _Run, second: _Run) -> _Run:
    together = np.concatenate([first.left(), second.left()])
    together.sort(kind="stable")  # quick where there are runs
    return _Run.of(together)


def _are_alike(longer: _Run, shorter: _Run) -> bool:
    return len(longer) <= 4 * len(shorter) and len(longer) + len(shorter) <= RUN_MAX
