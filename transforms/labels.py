"""What functions are called in labels."""

from __future__ import annotations

import functools
import os
import types
from typing import Any


def label_from_callable(fn: Any) -> str:
    """What a function is called in a label: its name, or for a lambda the place where it stands."""
    if hasattr(fn, "default_label"):
        return str(fn.default_label())
    if isinstance(fn, functools.partial):
        return f"functools.partial({label_from_callable(fn.func)})"
    name = getattr(fn, "__name__", None)
    if name is None:
        return str(fn) if not _has_plain_str(fn) else type(fn).__name__
    code = getattr(fn, "__code__", None)
    if name == "<lambda>" and isinstance(code, types.CodeType):
        return f"<lambda at {os.path.basename(code.co_filename)}:{code.co_firstlineno}>"
    return str(name)


def _has_plain_str(fn: Any) -> bool:
    """Whether an object's text says nothing but its address."""
    return (
        getattr(type(fn), "__str__", None) is object.__str__
        and getattr(type(fn), "__repr__", None) is object.__repr__
    )
