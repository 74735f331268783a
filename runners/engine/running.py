"""Which step is running, read off the stack, so that it costs nothing while all goes well."""

from __future__ import annotations

import sys
import types

from hornbeam.runners.engine.fused import FusedOperator
from hornbeam.runners.engine.operator import Operator


def running_step(frame: types.FrameType | None) -> str | None:
    """The label of the innermost step that a frame, or one that called it, belongs to."""
    loop: types.FrameType | None = None
    while frame is not None:
        owner = frame.f_locals.get("self") if "self" in frame.f_code.co_varnames[:1] else None
        if isinstance(owner, FusedOperator) and loop is not None:
            label = owner.label_at(loop)
            if label is not None:
                return label
        if isinstance(owner, Operator):
            return owner.label
        if frame.f_code.co_filename == "<fused steps>":
            loop = frame
        frame = frame.f_back
    return None


def step_of_thread(ident: int) -> str | None:
    """The label of the step that runs on another thread."""
    return running_step(sys._current_frames().get(ident))
