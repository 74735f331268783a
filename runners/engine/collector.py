"""CPython's cyclic collector while a runner works.

Bundles are many young containers that hold no cycles: with the default thresholds the collector runs because of them
and finds nothing (it doubled the time of a windowed sum over a million events). A run raises the thresholds and freezes what
exists; both are put back after, also when runs are nested.
"""

from __future__ import annotations

import gc
import threading

#: Allocations before a young collection; cycles of user code are still found, only later.
THRESHOLD = 200_000

_lock = threading.Lock()
_depth = 0
_before: tuple[int, int, int] = gc.get_threshold()


class relaxed:
    """`with relaxed():` relaxes the collector for the length of the block."""

    # Not a generator: contextlib sets an exception's __traceback__, which a frozen dataclass refuses.

    def __enter__(self) -> None:
        global _depth, _before
        with _lock:
            _depth += 1
            if _depth == 1:
                _before = gc.get_threshold()
                if gc.isenabled() and _before[0] < THRESHOLD:
                    gc.set_threshold(THRESHOLD, *_before[1:])
                gc.freeze()

    def __exit__(self, *raised: object) -> None:
        global _depth
        with _lock:
            _depth -= 1
            if _depth == 0:
                gc.unfreeze()
                gc.set_threshold(*_before)
