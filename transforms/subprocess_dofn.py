"""A DoFn whose process runs in a process of its own, so that a crash there costs one element and not the pipeline.

The DoFn, calls and answers travel as pickles with their length before them (8 bytes, big endian) over two pipes; the
answer to the DoFn is empty, when it is set up. The process is a fresh interpreter that imports nothing of the author's main
program; functions of it are pickled by value.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Any, BinaryIO

import cloudpickle

from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.guarded_call import wrapping_signature
from hornbeam.transforms.signature import DoFnSignature
from hornbeam.typehints.decorators import IOTypeHints
from hornbeam.utils import pickling
from hornbeam.utils.readable import readable

_LENGTH = struct.Struct(">Q")
_PROGRAM = "from hornbeam.transforms.subprocess_dofn import serve; import sys; serve(int(sys.argv[1]), int(sys.argv[2]))"


class SubprocessDied(RuntimeError):
    """The process that ran an author's DoFn ended while it worked on an element."""


class DoFnInSubprocess(DoFn):
    """Another DoFn, in a process that is started again when it dies or takes longer than `timeout` seconds for an element.

    The time that the process takes to start, and the DoFn to set up, does not count.

    ValueError for a DoFn with state, timers, restrictions or a bundle finalizer: these live in this process.
    """

    def __init__(self, dofn: DoFn, timeout: float | None = None) -> None:
        super().__init__()
        signature = dofn.signature()
        if signature.is_stateful or signature.is_splittable or signature.bundle_finalizer:
            raise ValueError(
                f"{dofn.default_label()} uses state, timers, restrictions or the bundle finalizer; use_subprocess=True "
                "cannot carry these into another process."
            )
        if signature.finish_bundle.defined or signature.start_bundle.defined:
            raise ValueError(
                f"{dofn.default_label()} defines start_bundle or finish_bundle; with use_subprocess=True the process "
                "may be replaced within a bundle. Do the work in process, or leave use_subprocess out."
            )
        self._dofn = dofn
        self._timeout = timeout
        self._child: _Child | None = None

    def default_label(self) -> str:
        """The other DoFn's."""
        return self._dofn.default_label()

    def default_type_hints(self) -> IOTypeHints:
        """The other DoFn's."""
        return self._dofn.get_type_hints()

    def process(self, element: Any, *args: Any, **kwargs: Any) -> Iterable[Any] | None:
        """What the other DoFn gives; SubprocessDied or TimeoutError when it never does."""
        if self._child is None:
            self._child = _Child(pickling.dumps(self._dofn))
        try:
            failed, answer = self._child.call((element, args, kwargs), self._timeout)
        except BaseException:
            self._stop()
            raise
        if failed:
            raise answer
        outputs: Iterable[Any] | None = answer
        return outputs

    def teardown(self) -> None:
        """End the process."""
        self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def signature(self) -> DoFnSignature:
        """The other DoFn's, with this process and teardown; its own are called where it lives."""
        return wrapping_signature(self, self._dofn, keep_life_cycle=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_child": None}


class _Child:
    """The other process, seen from this one."""

    def __init__(self, dofn: bytes) -> None:
        from_parent, self._to_child = os.pipe()
        self._from_child, to_parent = os.pipe()
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(from_parent), str(to_parent)],
            pass_fds=(from_parent, to_parent),
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
        os.close(from_parent)
        os.close(to_parent)
        self._is_ready = False
        self._write(dofn)

    def call(self, call: Any, timeout: float | None) -> tuple[bool, Any]:
        """Whether the call failed, and what it gave or the exception."""
        self._write(pickling.dumps(call))
        if not self._is_ready:
            self._read(_LENGTH.size, None)
            self._is_ready = True
        deadline = None if timeout is None else time.monotonic() + timeout
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline))
        answer: tuple[bool, Any] = cloudpickle.loads(self._read(length, deadline))
        return answer

    def _write(self, data: bytes) -> None:
        view = memoryview(_LENGTH.pack(len(data)) + data)
        try:
            while view:
                view = view[os.write(self._to_child, view) :]
        except BrokenPipeError:
            raise self._died() from None

    def _read(self, size: int, deadline: float | None) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not readable([self._from_child], left):
                raise TimeoutError("The function in the other process took too long.")
            part = os.read(self._from_child, size - len(parts))
            if not part:
                raise self._died()
            parts += part
        return bytes(parts)

    def _died(self) -> SubprocessDied:
        return SubprocessDied(f"The process of the function ended with code {self._process.wait()}.")

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        os.close(self._to_child)
        os.close(self._from_child)


def serve(calls_fd: int, answers_fd: int) -> None:
    """The other process's main function: take the DoFn, then calls until there are no more."""
    with os.fdopen(calls_fd, "rb") as calls, os.fdopen(answers_fd, "wb") as answers:
        dofn: DoFn | None = None
        try:
            while (data := _read_frame(calls)) is not None:
                if dofn is None:
                    dofn = cloudpickle.loads(data)
                    dofn.setup()
                    answer = b""  # it is ready
                else:
                    answer = pickling.dumps(_answer(dofn, *cloudpickle.loads(data)))
                answers.write(_LENGTH.pack(len(answer)) + answer)
                answers.flush()
        finally:
            if dofn is not None:
                dofn.teardown()


def _read_frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return stream.read(_LENGTH.unpack(head)[0])


def _answer(dofn: DoFn, element: Any, args: Any, kwargs: Any) -> tuple[bool, Any]:
    try:
        outputs = dofn.process(element, *args, **kwargs)
        iterates = outputs is not None and not isinstance(outputs, str | bytes | dict)
        return False, list(outputs) if iterates and outputs is not None else outputs
    except Exception as error:
        try:
            cloudpickle.loads(pickling.dumps(error))
        except Exception:
            return True, RuntimeError("".join(traceback.format_exception(error)))
        return True, error
