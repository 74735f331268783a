"""What a program prints when an exception that went through this package ends it: what its author can act on.

Python prints every frame; most would be ours. So frames of this package are left out of such a traceback; of an error that
says what is wrong with an option, a file, a job or a step, once the pipeline is run, only the message is printed, as no line
of the program is to blame. What looks like a bug of ours is printed whole, and so is everything with
`HORNBEAM_TRACEBACK=full`.

The exception is as it was: `except`, a debugger, a notebook and pytest, which print it themselves, have all of its frames.
"""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

from hornbeam.error import BeamError, InternalError

_OURS = "hornbeam"
#: Where pipelines are run. Errors that come from elsewhere are about a line of the author's.
_RUNNING = ("hornbeam.runners.", "hornbeam.options.")


def tell_briefly() -> None:
    """From now on, unless the program decides itself how uncaught exceptions are printed."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print


def _print(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if os.environ.get("HORNBEAM_TRACEBACK") == "full" or not any(map(_is_ours, _frames(trace))):
        sys.__excepthook__(kind, error, trace)
    elif _is_message(error, trace):
        print("".join(traceback.format_exception_only(error)), end="", file=sys.stderr)
    elif _is_the_authors(error, trace):
        _print_without_ours(error)
    else:
        sys.__excepthook__(kind, error, trace)


def _is_message(error: BaseException, trace: TracebackType | None) -> bool:
    """Whether the message says it all: one of ours, about what is around the pipeline."""
    if not _is_told_by_us(error) or not any(map(_is_running, _frames(trace))):
        return False
    return not any(_goes_through_the_author(part.__traceback__) for part in _chain(error, set()))


def _is_running(part: TracebackType) -> bool:
    # A runner may have cut its own frames off.
    is_run = _module(part) == "hornbeam.pipeline" and part.tb_frame.f_code.co_name == "run"
    return is_run or _module(part).startswith(_RUNNING)


def _goes_through_the_author(trace: TracebackType | None) -> bool:
    """Whether we had called somebody else when it was raised."""
    ours = [_is_ours(part) for part in _frames(trace)]
    return True in ours and not all(ours[ours.index(True) :])


def _is_the_authors(error: BaseException, trace: TracebackType | None) -> bool:
    """Whether the author's code raised it, or made a mistake that we tell by a type of ours."""
    if getattr(error, "hornbeam_failure", None) is not None or _is_told_by_us(error):
        return True
    if isinstance(error, KeyboardInterrupt):
        return True
    last = [*_frames(trace)][-1]
    return not _is_ours(last) or (not _module(last).startswith(_RUNNING) and _is_raised_at(last))


def _is_told_by_us(error: BaseException) -> bool:
    if isinstance(error, InternalError):
        return False
    # Storage has roots of its own.
    return isinstance(error, BeamError) or _is_our_module(type(error).__module__)


def _print_without_ours(error: BaseException) -> None:
    """The exception, and what it came from, with the author's frames alone; afterwards all is as before."""
    chain = list(_chain(error, set()))
    whole = [part.__traceback__ for part in chain]
    try:
        for part, trace in zip(chain, whole, strict=True):
            part.with_traceback(_without_ours(trace))
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        for part, trace in zip(chain, whole, strict=True):
            part.with_traceback(trace)


def _chain(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    if error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        yield from _chain(error.__cause__, seen)
        yield from _chain(error.__context__, seen)
        for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
            yield from _chain(inner, seen)


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    kept: TracebackType | None = None
    for part in reversed([*_frames(trace)]):
        if not _is_ours(part):
            kept = TracebackType(kept, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return kept


def _is_raised_at(part: TracebackType) -> bool:
    """Whether it was a `raise`: what we found out, and no accident."""
    code = part.tb_frame.f_code
    return linecache.getline(code.co_filename, part.tb_lineno).lstrip().startswith("raise ")


def _frames(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _is_ours(part: TracebackType) -> bool:
    return _is_our_module(_module(part))


def _module(part: TracebackType) -> str:
    return str(part.tb_frame.f_globals.get("__name__") or "")


def _is_our_module(name: str) -> bool:
    return name == _OURS or name.startswith(f"{_OURS}.")
