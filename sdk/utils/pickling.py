"""Pickles of user code that keep the files it came from, so that tracebacks show its source."""

from __future__ import annotations

import io
import types
from collections import ChainMap
from typing import Any

import cloudpickle

_reduce_code = cloudpickle.Pickler.dispatch_table[types.CodeType]


def _reduce_code_of_file(code: types.CodeType) -> tuple[Any, ...]:
    # From 3.1.3 on cloudpickle writes "<dynamic-code>" for every file name, and a traceback then has no source lines.
    make, arguments, *rest = _reduce_code(code)
    named = tuple(code.co_filename if argument == "<dynamic-code>" else argument for argument in arguments)
    return (make, named, *rest)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    dispatch_table = ChainMap({types.CodeType: _reduce_code_of_file}, cloudpickle.Pickler.dispatch_table)


def dumps(value: Any) -> bytes:
    """What `cloudpickle.loads` reads back; raises what cloudpickle raises for what cannot be pickled."""
    with io.BytesIO() as file:
        _Pickler(file).dump(value)
        return file.getvalue()
