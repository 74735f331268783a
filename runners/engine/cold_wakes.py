"""When records on disk must come back: times with refs (see `cold_index`), 16 bytes each in memory, in sorted runs.

A ref of a record that has left the store since is passed over when it comes up, and thrown out when most are like that.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from hornbeam.runners.engine.cold_index import ColdIndex, Refs

Times = npt.NDArray[np.int64]

RUN_MAX = 1 << 20
#: Refs that are looked up at a time to find one that is still there.
_AT_A_TIME = 256
_STALE_MIN = 1024


@attrs.define
class _Run:
    """Times in order, with their refs; what lies before `start` has come up."""

    times: Times
    refs: Refs
    start: int = 0

    def __len__(self) -> int:
        return len(self.times) - self.start

    def part(self, count: int) -> Refs:
        return self.refs[self.start : self.start + count]


class Wakes:
    """The wake-up times of one kind for the records of one store, whose index tells which are still there."""

    def __init__(self, index: ColdIndex) -> None:
        self._index = index
        self._runs: list[_Run] = []
        #: How many of the records in the store have a time; kept by the store.
        self.live = 0

    @property
    def memory_bytes(self) -> int:
        """What the runs take."""
        return sum(run.times.nbytes + run.refs.nbytes for run in self._runs)

    def add(self, times: Times, refs: Refs) -> None:
        """Adds the times of records that were put into the store."""
        self.live += len(times)
        self._runs.append(_sorted(times, refs))
        runs = self._runs
        while len(runs) > 1 and _are_alike(runs[-2], runs[-1]):
            last = runs.pop()
            runs[-1] = _merged(runs[-1], last)
        if sum(map(len, runs)) > 2 * self.live + _STALE_MIN:
            self.throw_out_stale()

    def throw_out_stale(self) -> None:
        """Forgets the times of records that have left."""
        runs, self._runs = self._runs, []
        for run in runs:
            refs = run.refs[run.start :]
            there = self._index.are_there(refs)
            if there.any():
                self._runs.append(_Run(run.times[run.start :][there], refs[there]))

    def next_time(self) -> int | None:
        """The earliest time of a record that is in the store."""
        self._pass_over_stale()
        return min((int(run.times[run.start]) for run in self._runs), default=None)

    def _pass_over_stale(self) -> None:
        if not self.live:
            self._runs = []
            return
        fronts = np.array([run.refs[run.start] for run in self._runs], dtype=np.uint64)
        for run, is_there in zip(self._runs, self._index.are_there(fronts)):
            while not is_there:
                there = self._index.are_there(run.part(_AT_A_TIME))
                is_there = bool(there.any()) or not len(there)
                run.start += int(there.argmax()) if there.any() else len(there)
        self._runs = [run for run in self._runs if len(run)]

    def due(self, until: int, count: int) -> Refs:
        """Refs of the first records in the order of their times, those up to `until`, about `count` at most."""
        self._pass_over_stale()
        found: list[Refs] = [np.zeros(0, dtype=np.uint64)]
        limits = [run.times[min(run.start + count, len(run.times)) - 1] for run in self._runs]
        until = min([until, *map(int, limits)])
        for run in self._runs:
            end = int(np.searchsorted(run.times, until, side="right"))
            found.append(run.refs[run.start : min(end, run.start + count)])
        refs = np.unique(np.concatenate(found))
        return refs[self._index.are_there(refs)]


def _sorted(times: Times, refs: Refs) -> _Run:
    order = np.argsort(times, kind="stable")
    return _Run(times[order], refs[order])


def _merged(first: _Run, second: _Run) -> _Run:
    times = np.concatenate([first.times[first.start :], second.times[second.start :]])
    refs = np.concatenate([first.refs[first.start :], second.refs[second.start :]])
    return _sorted(times, refs)


def _are_alike(longer: _Run, shorter: _Run) -> bool:
    return len(longer) <= 2 * len(shorter) and len(longer) + len(shorter) <= RUN_MAX
