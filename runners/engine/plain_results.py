"""Which functions certainly give plain values, so that their results need no look for TimestampedValue and its like.

The look costs nearly half of what calling a small function costs. It is spared where the function's bytecode, followed
once without branches, ends in something freshly made (an operator's result, a tuple, a string) or in the element
itself, which is plain. Anything not understood counts as unknown, and is looked at. (An operator of a class of the user's
could in theory return a TimestampedValue; the model gives such a thing no meaning.)
"""

from __future__ import annotations

import builtins
import dis
import types
from collections.abc import Callable
from typing import Any

#: What is known of a value on the stack.
PLAIN, UNKNOWN = "plain", "unknown"
#: A tuple or list whose items are plain is "items".
ITEMS = "items"

#: Code flags of functions with *args or **kwargs, of generators and of coroutines.
_NOT_A_PLAIN_CALL = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200

_PLAIN_FUNCTIONS = frozenset(
    {int, float, str, bytes, bool, len, repr, ord, chr, hash, abs, round, hex, bin, format}
)
_PLAIN_METHODS = frozenset(
    {str.lower, str.upper, str.strip, str.lstrip, str.rstrip, str.title, str.replace, str.join, str.format}
)
_ITEMS_METHODS = frozenset({str.split, str.splitlines, str.rsplit, bytes.split, bytes.splitlines})
_IGNORED = frozenset({"RESUME", "CACHE", "NOP", "PRECALL", "COPY_FREE_VARS", "NOT_TAKEN", "EXTENDED_ARG"})
_LOADS_UNKNOWN = frozenset({"LOAD_DEREF", "LOAD_CLOSURE"})
_TWO_TO_PLAIN = frozenset({"COMPARE_OP", "IS_OP", "CONTAINS_OP"})
_ONE_TO_PLAIN = frozenset(
    {"UNARY_NEGATIVE", "UNARY_NOT", "UNARY_INVERT", "FORMAT_SIMPLE", "CONVERT_VALUE", "TO_BOOL"}
)


def gives_plain(function: Callable[..., Any]) -> bool:
    """Whether what the function returns is certainly an unmarked value."""
    if _is_in(function, _PLAIN_FUNCTIONS) or _is_in(function, _PLAIN_METHODS):
        return True
    return _result(function) in (PLAIN, ITEMS)


def gives_plain_items(function: Callable[..., Any]) -> bool:
    """Whether the function certainly returns a list or tuple of unmarked values."""
    if getattr(function, "gives_plain_items", False) is True:  # a callable object of ours that knows
        return True
    return _is_in(function, _ITEMS_METHODS) or _result(function) == ITEMS


def _is_in(function: Any, known: frozenset[Any]) -> bool:
    try:
        return function in known
    except TypeError:  # it cannot be hashed
        return False


def _result(function: Any) -> str:
    """PLAIN, ITEMS or UNKNOWN for the value that a straight-line Python function of one element returns."""
    if not isinstance(function, types.FunctionType):
        return UNKNOWN
    code = function.__code__
    if code.co_argcount != 1 or code.co_flags & _NOT_A_PLAIN_CALL or function.__defaults__:
        return UNKNOWN
    if code.co_exceptiontable:  # an except clause may return something else, by no branch that is seen here
        return UNKNOWN
    try:
        return _follow(function, code)
    except IndexError:
        return UNKNOWN


def _follow(function: types.FunctionType, code: types.CodeType) -> str:
    stack: list[str] = []
    local: dict[str, str] = {code.co_varnames[0]: PLAIN}
    for step in dis.get_instructions(code):
        name, argument = step.opname, step.arg or 0
        if name in _IGNORED:
            continue
        if name == "RETURN_VALUE":
            return stack.pop()
        if name == "RETURN_CONST":
            return PLAIN
        if name in ("LOAD_CONST", "LOAD_SMALL_INT"):
            stack.append(PLAIN)
        elif name.startswith("LOAD_FAST"):
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            stack.extend(local.get(variable, UNKNOWN) for variable in names)
        elif name == "STORE_FAST":
            local[step.argval] = _named(stack.pop())
        elif name == "STORE_FAST_STORE_FAST":
            local[step.argval[0]] = _named(stack.pop())
            local[step.argval[1]] = _named(stack.pop())
        elif name == "PUSH_NULL":
            stack.append("null")
        elif name == "LOAD_GLOBAL":
            _load_global(function, step, stack)
        elif name in _LOADS_UNKNOWN:
            stack.append(UNKNOWN)
        elif name == "BINARY_OP":
            del stack[-2:]
            stack.append(UNKNOWN if "[" in step.argrepr else PLAIN)
        elif name in _TWO_TO_PLAIN:
            del stack[-2:]
            stack.append(PLAIN)
        elif name in _ONE_TO_PLAIN:
            stack[-1] = PLAIN
        elif name == "FORMAT_VALUE":
            if argument & 0x04:
                stack.pop()
            stack[-1] = PLAIN
        elif name == "FORMAT_WITH_SPEC":
            del stack[-2:]
            stack.append(PLAIN)
        elif name in ("BUILD_TUPLE", "BUILD_LIST"):
            items = stack[len(stack) - argument :]
            del stack[len(stack) - argument :]
            stack.append(PLAIN if UNKNOWN in items or "null" in items else ITEMS)
        elif name in ("BUILD_STRING", "BUILD_SET"):
            del stack[len(stack) - argument :]
            stack.append(PLAIN)
        elif name == "BUILD_MAP":
            del stack[len(stack) - 2 * argument :]
            stack.append(PLAIN)
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            stack[-1] = UNKNOWN
            if name == "LOAD_METHOD" or step.argrepr.endswith("NULL|self"):
                stack.append(UNKNOWN)
        elif name in ("BINARY_SUBSCR", "BINARY_SLICE"):
            del stack[-2 if name == "BINARY_SUBSCR" else -3 :]
            stack.append(UNKNOWN)
        elif name == "UNPACK_SEQUENCE":
            stack.pop()
            stack.extend([UNKNOWN] * argument)
        elif name == "POP_TOP":
            stack.pop()
        elif name == "CALL":
            called = stack[len(stack) - argument - 2 : len(stack) - argument]
            del stack[len(stack) - argument - 2 :]
            stack.append(PLAIN if "function" in called else UNKNOWN)
        else:
            return UNKNOWN  # a branch, a loop, or something newer than this list
    return UNKNOWN


def _named(kind: str) -> str:
    """What is known of a value once it has a name: a list may then get other items."""
    return PLAIN if kind == ITEMS else kind


def _load_global(function: types.FunctionType, step: dis.Instruction, stack: list[str]) -> None:
    """A builtin that makes plain values is "function"; 3.11 and 3.12 push the NULL of a call first, later ones after."""
    value = function.__globals__.get(step.argval, vars(builtins).get(step.argval))
    known = "function" if _is_in(value, _PLAIN_FUNCTIONS) else UNKNOWN
    if step.argrepr.startswith("NULL"):
        stack.extend(["null", known])
    elif step.argrepr.endswith("NULL"):
        stack.extend([known, "null"])
    else:
        stack.append(known)
