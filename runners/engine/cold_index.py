"""ColdIndex: where on disk the records of a store are, in 8 bytes of memory each.

A *ref* is a record's hash in the upper 32 bits and its address in the lower ones. Refs lie in sorted runs, which are merged
as they become alike in length, so that a few binary searches find a hash however many there are. The ref of a record that
has left the store is marked where it lies, and goes with the next merge.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Refs = npt.NDArray[np.uint64]

#: Where refs lie: the number of the run, and the place in it.
Spots = npt.NDArray[np.int64]

#: The address of what is gone.
GONE = np.uint64(0xFFFF_FFFF)
_HALF = np.uint64(32)
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
#: Longer runs are not merged, so that no merge takes long, or much memory.
RUN_MAX = 1 << 22
_GONE_MIN = 1024
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
    return refs & GONE


class ColdIndex:
    """The refs of one store."""

    def __init__(self) -> None:
        self._runs: list[Refs] = []
        self._count = 0
        self._gone = 0

    def __len__(self) -> int:
        return self._count

    @property
    def memory_bytes(self) -> int:
        """What the runs take."""
        return sum(run.nbytes for run in self._runs)

    def add(self, refs: Refs) -> None:
        """Adds the refs of new records."""
        if not len(refs):
            return
        self._runs.append(np.sort(refs))
        self._count += len(refs)
        runs = self._runs
        while len(runs) > 1 and _are_alike(runs[-2], runs[-1]):
            last = runs.pop()
            runs[-1] = self._merged([runs[-1], last])

    def _merged(self, runs: list[Refs]) -> Refs:
        together = np.concatenate(runs)
        kept: Refs = together[(together & GONE) != GONE]
        self._gone -= len(together) - len(kept)
        kept.sort(kind="stable")  # quick where there are runs
        return kept

    def find(self, hashes: Refs) -> tuple[Refs, Spots]:
        """The refs of the records that have one of the hashes, and where these lie. No hash comes twice; sorted is best."""
        refs: list[Refs] = [np.zeros(0, dtype=np.uint64)]
        spots: list[Spots] = [np.zeros(0, dtype=np.int64)]
        for number, run in enumerate(self._runs):
            for _, at in _matches(run, hashes):
                refs.append(run[at])
                spots.append(at | number << _RUN_SHIFT)
        return np.concatenate(refs), np.concatenate(spots)

    def are_there(self, refs: Refs) -> npt.NDArray[np.bool_]:
        """Which of the refs are in the index."""
        found = np.zeros(len(refs), dtype=np.bool_)
        hashes = refs >> _HALF
        for run in self._runs:
            for which, at in _matches(run, hashes):
                found[which[run[at] == refs[which]]] = True
        return found

    def remove(self, refs: Refs) -> None:
        """Takes out refs that are in the index."""
        hashes = refs >> _HALF
        for run in self._runs:
            for which, at in list(_matches(run, hashes)):
                run[at[run[at] == refs[which]]] |= GONE
        self._removed(len(refs))

    def remove_at(self, spots: Spots) -> None:
        """Takes out refs where `find` found them, if nothing was added or removed since."""
        numbers = spots >> _RUN_SHIFT
        for number in np.unique(numbers).tolist():
            self._runs[number][spots[numbers == number] & _IN_RUN] |= GONE
        self._removed(len(spots))

    def _removed(self, count: int) -> None:
        self._count -= count
        self._gone += count
        if self._gone > self._count + _GONE_MIN:
            self._runs = [kept for run in self._runs if len(kept := self._merged([run]))]


def _are_alike(longer: Refs, shorter: Refs) -> bool:
    return len(longer) <= 4 * len(shorter) and len(longer) + len(shorter) <= RUN_MAX


def _matches(run: Refs, hashes: Refs) -> Iterable[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Places in `hashes`, and those in the run where the same hash is and not gone."""
    at = np.searchsorted(run, hashes << _HALF)
    which = np.flatnonzero((run[np.minimum(at, len(run) - 1)] >> _HALF) == hashes)
    at = at[which]
    while len(which):
        inside = at < len(run)
        at, which = at[inside], which[inside]
        same = (run[at] >> _HALF) == hashes[which]
        at, which = at[same], which[same]
        there = (run[at] & GONE) != GONE
        if there.any():
            yield which[there], at[there]
        at = at + 1
