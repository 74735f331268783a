"""Waking consumers that wait in any process: one shared word and the kernel's futex on it.

Who appends changes the word and wakes; who waits first reads the word, then looks for records, then sleeps
only if the word is still the same, so no wake-up is lost. Topics are told apart by a bit of the futex's bit
set. A waiter that dies leaves nothing behind. Where there is no futex, the wait is a short sleep that grows from
0.2 ms to 5 ms.
"""

from __future__ import annotations

import ctypes
import platform
import sys
import time
import zlib

from hornbeam.storage.log.shared_words import LOG_BELL, address_of

_SYSCALL = {"x86_64": 202, "aarch64": 98}.get(platform.machine()) if sys.platform == "linux" else None
_WAIT_BITSET = 9
_WAKE_BITSET = 10
_EVERYBODY = 0x7FFFFFFF
_SLICE_S = 0.5
EVERY_TOPIC = 0xFFFFFFFF


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanos", ctypes.c_long)]


def topic_bit(topic: str) -> int:
    """The bit of the set that stands for a topic (shared with one in 32 of the others)."""
    return 1 << (zlib.crc32(topic.encode()) & 31)


class Bell:
    """A bell of the log, on one of its shared words. Any thread of any process may ring and wait."""

    def __init__(self, words: memoryview, word: int = LOG_BELL) -> None:
        self._words = words
        self._word = word
        self._address, self._holder = address_of(words, word)
        self._futex = ctypes.CDLL(None, use_errno=True).syscall if _SYSCALL is not None else None

    def value(self) -> int:
        """The word now; read it before looking for records."""
        return int(self._words[self._word]) & 0xFFFFFFFF

    def ring(self, bits: int) -> None:
        """Wake those who wait for one of `bits`. Call after the records are visible."""
        self._words[self._word] = (self._words[self._word] + 1) & 0xFFFFFFFF
        if self._futex is not None:
            self._futex(
                ctypes.c_long(_SYSCALL or 0), ctypes.c_void_p(self._address), ctypes.c_int(_WAKE_BITSET),
                ctypes.c_int(_EVERYBODY), None, None, ctypes.c_uint32(bits),
            )  # fmt: skip

    def wait(self, seen: int, bits: int, timeout_s: float) -> bool:
        """Sleep until the word is no longer `seen` or time is up; true when it changed. May wake early."""
        deadline = time.monotonic() + timeout_s
        pause_s = 0.0002
        while self.value() == seen:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            if self._futex is None:
                time.sleep(min(pause_s, left_s))
                pause_s = min(pause_s * 1.5, 0.005)
            else:
                self._sleep_on_word(seen, bits, min(left_s, _SLICE_S))
        return True

    def _sleep_on_word(self, seen: int, bits: int, seconds: float) -> None:
        assert self._futex is not None
        until = time.monotonic() + seconds
        span = _Timespec(int(until), int((until - int(until)) * 1e9))
        self._futex(
            ctypes.c_long(_SYSCALL or 0), ctypes.c_void_p(self._address), ctypes.c_int(_WAIT_BITSET),
            ctypes.c_uint32(seen), ctypes.byref(span), None, ctypes.c_uint32(bits),
        )  # fmt: skip
