"""Files, hashes and repeatable random numbers for tests."""

from __future__ import annotations

import glob
import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType, TracebackType
from typing import Any, Self
from unittest import TestCase, mock

__all__ = [
    "DEFAULT_HASHING_ALG",
    "LCGenerator",
    "TempDir",
    "compute_hash",
    "create_file",
    "delete_files",
    "patch_retry",
    "read_files_from_pattern",
]

DEFAULT_HASHING_ALG = "sha1"


class TempDir:
    """A context manager: a new directory, removed with all in it at the end."""

    def __enter__(self) -> Self:
        self._path = tempfile.mkdtemp()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        shutil.rmtree(self._path, ignore_errors=True)

    def get_path(self) -> str:
        """The directory."""
        return self._path

    def create_temp_file(self, suffix: str = "", lines: Iterable[bytes] | None = None) -> str:
        """A new file in it with these lines (bytes that bring their own newlines); returns its path."""
        with tempfile.NamedTemporaryFile(delete=False, dir=self._path, suffix=suffix) as file:
            file.writelines(lines or ())
        return file.name


def compute_hash(content: Iterable[Any], hashing_alg: str = DEFAULT_HASHING_ALG) -> str:
    """The hex digest of the items' strings, whatever their order."""
    digest = hashlib.new(hashing_alg)
    for line in sorted(content):
        digest.update(str(line).encode("utf-8"))
    return digest.hexdigest()


def create_file(path: str, contents: str | bytes) -> str:
    """Write a file (and the directories it needs); returns its path."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "wb") as file:
        file.write(contents.encode("utf-8") if isinstance(contents, str) else contents)
    return path


def delete_files(file_paths: Sequence[str]) -> None:
    """Remove files. RuntimeError when none are given, FileNotFoundError when one is not there."""
    if not file_paths:
        raise RuntimeError("delete_files needs at least one path")
    for path in file_paths:
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


def read_files_from_pattern(file_pattern: str) -> str:
    """The text of all files that match, in the order of their names."""
    parts = []
    for path in sorted(glob.glob(file_pattern)):
        with open(path, encoding="utf-8") as file:
            parts.append(file.read())
    return "".join(parts)


class _NoSleepClock:
    """A clock for retries that does not wait."""

    def sleep(self, value: float) -> None:
        """Return at once."""


def patch_retry(testcase: TestCase, module: ModuleType) -> None:
    """Make the retries in `module` (which uses `hornbeam.utils.retry` as `retry`) not wait, for one test.

    The module is loaded again, now and after the test.
    """
    real: Callable[..., Any] = module.__dict__["retry"].with_exponential_backoff

    def without_waiting(**kwargs: Any) -> Any:
        return real(**{**kwargs, "clock": _NoSleepClock()})

    patch = mock.patch.object(module.__dict__["retry"], "with_exponential_backoff", without_waiting)
    patch.start()
    importlib.reload(module)

    def restore() -> None:
        patch.stop()
        importlib.reload(module)

    testcase.addCleanup(restore)


class LCGenerator:
    """A linear congruential generator: the same numbers from the same seed everywhere, as in the JDK.

    The state has `bits` bits and advances by `state * a + c`; the 32 highest bits are the output.
    """

    def __init__(self, a: int = 0x5DEECE66D, c: int = 0xB, bits: int = 48) -> None:
        if bits < 32:
            raise ValueError(f"LCGenerator needs a state of 32 bits or more, found {bits}")
        self._a = a
        self._c = c
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._state = 0

    def seed(self, seed: int) -> None:
        """Set the state."""
        self._state = seed & self._mask

    def seed_jdk(self, seed: int) -> None:
        """Set the state as `new java.util.Random(seed)` does."""
        self._state = (seed ^ self._a) & self._mask

    def next_uint(self) -> int:
        """The next number, 0 to 2**32 - 1."""
        self._state = (self._state * self._a + self._c) & self._mask
        return self._state >> (self._bits - 32)

    def next_int(self) -> int:
        """The next number, -2**31 to 2**31 - 1."""
        number = self.next_uint()
        return number - (1 << 32) if number >= 1 << 31 else number

    def random_sample(self) -> float:
        """The next number in [0, 1)."""
        return self.next_uint() / (1 << 32)

    def randbytes(self, length: int) -> bytes:
        """The next bytes, four of each number, the lowest first."""
        whole = b"".join(self.next_uint().to_bytes(4, "little") for _ in range((length + 3) // 4))
        return whole[:length]
