"""Exceptions from worker to coordinator: the very type, with its arguments, attributes, notes, causes and the user's frames.

Pickle makes an exception by calling its class again, which fails for many a class whose __init__ takes something else
than `args`; here it is made by `__new__` and given its attributes. Tracebacks do not travel; the frames are told by file,
line and name, and made anew from code that has nothing but those, so that Python shows them as it would the real ones.
"""

from __future__ import annotations

import ast
import linecache
import sys
import traceback
import types
from typing import Any

import attrs
import cloudpickle

from hornbeam.runners.engine.failures import short_repr, user_frames

_DEPTH_MAX = 8
_FRAMES_MAX = 200


@attrs.frozen
class _Frame:
    file: str
    line: int
    name: str
    module: str
    text: str


@attrs.frozen
class _Carried:
    """An exception on its way."""

    kind: bytes
    text: str
    pickled: bytes
    args: tuple[bytes, ...]
    attributes: dict[str, bytes]
    frames: tuple[_Frame, ...]
    cause: _Carried | None
    context: _Carried | None
    suppress_context: bool


class UnknownError(Exception):
    """Stands for an exception whose class cannot be had in this process; the message names it."""


def carried(error: BaseException) -> bytes:
    """The exception as bytes. Never raises for what an exception may hold."""
    data: bytes = cloudpickle.dumps(_carry(error, 0))
    return data


def _carry(error: BaseException, depth: int) -> _Carried:
    def follow(other: BaseException | None) -> _Carried | None:
        return None if other is None or depth >= _DEPTH_MAX else _carry(other, depth + 1)

    attributes = {name: _pickled(value) for name, value in _attributes(error).items()}
    trace = error.__traceback__
    return _Carried(
        _pickled(type(error)),
        "".join(traceback.format_exception_only(error)[:1]).strip(),
        _whole(error),
        tuple(map(_pickled, error.args)),
        {name: value for name, value in attributes.items() if value},
        _frames(user_frames(trace) or (trace if depth else None)),
        follow(error.__cause__),
        follow(error.__context__),
        error.__suppress_context__,
    )


def _attributes(error: BaseException) -> dict[str, Any]:
    """What the exception holds, in slots too."""
    found = dict(getattr(error, "__dict__", {}))
    for kind in type(error).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(error, name):
                found[name] = getattr(error, name)
    return found


def _pickled(value: Any) -> bytes:
    """A pickle that can be read back; of what cannot be pickled, the repr; nothing when that fails too."""
    for candidate in (value, short_repr(value)):
        try:
            data: bytes = cloudpickle.dumps(candidate)
            cloudpickle.loads(data)
        except Exception:
            continue
        return data
    return b""


def _whole(error: BaseException) -> bytes:
    """The exception as pickle has it, for classes of C, if it comes back as it was."""
    if type(error).__reduce__ is BaseException.__reduce__ and type(error).__module__ != "builtins":
        return b""
    try:
        data: bytes = cloudpickle.dumps(error)
        back = cloudpickle.loads(data)
    except Exception:
        return b""
    return data if type(back) is type(error) and str(back) == str(error) else b""


def _frames(trace: types.TracebackType | None) -> tuple[_Frame, ...]:
    frames: list[_Frame] = []
    while trace is not None and len(frames) < _FRAMES_MAX:
        code, line = trace.tb_frame.f_code, trace.tb_lineno
        names = trace.tb_frame.f_globals
        text = linecache.getline(code.co_filename, line, names)
        module = names.get("__name__") or ""
        frames.append(_Frame(code.co_filename, line, code.co_name, module, text))
        trace = trace.tb_next
    return tuple(frames)


def restored(data: bytes) -> BaseException:
    """The exception that `carried` was given, with a traceback of the frames it came from."""
    return _restore(cloudpickle.loads(data))


def _restore(carried: _Carried) -> BaseException:
    error = _made(carried)
    for name, value in carried.attributes.items():
        try:
            BaseException.__setattr__(error, name, cloudpickle.loads(value))
        except Exception:
            continue  # a property without a setter, or a class that is not there
    error.__cause__ = None if carried.cause is None else _restore(carried.cause)
    error.__context__ = None if carried.context is None else _restore(carried.context)
    error.__suppress_context__ = carried.suppress_context
    BaseException.__setattr__(error, "__traceback__", _trace(carried.frames))
    return error


def _made(carried: _Carried) -> BaseException:
    try:
        if carried.pickled:
            whole: BaseException = cloudpickle.loads(carried.pickled)
            return whole
        kind = cloudpickle.loads(carried.kind)
        args = tuple(cloudpickle.loads(arg) if arg else None for arg in carried.args)
        error: BaseException = kind.__new__(kind, *args)
        BaseException.__setattr__(error, "args", args)  # frozen classes are exceptions too
        return error
    except Exception:
        return UnknownError(carried.text)


def _trace(frames: tuple[_Frame, ...]) -> types.TracebackType | None:
    trace: types.TracebackType | None = None
    for told in reversed(frames):
        frame = _frame(told)
        trace = types.TracebackType(trace, frame, frame.f_lasti, told.line)
        if told.text and told.file not in linecache.cache and told.file.startswith("<"):
            # Of a notebook's cell only the worker's text is known.
            lines = [""] * (told.line - 1) + [told.text]
            linecache.cache[told.file] = (len(told.text), None, lines, told.file)
    return trace


def _frame(told: _Frame) -> types.FrameType:
    tree = ast.parse("frame = frame_here()")
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            # The whole line, or Python would mark a part of it as the culprit.
            indent = len(told.text) - len(told.text.lstrip())
            node.lineno = node.end_lineno = told.line  # type: ignore[attr-defined]
            node.col_offset, node.end_col_offset = indent, len(told.text.rstrip())  # type: ignore[attr-defined]
    code = compile(tree, told.file, "exec").replace(co_name=told.name, co_qualname=told.name)
    scope: dict[str, Any] = {"__name__": told.module, "frame_here": lambda: sys._getframe(1)}
    exec(code, scope)
    frame: types.FrameType = scope["frame"]
    return frame
