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
    frame = _Frame(function, code.co_varnames[0])
    for step in dis.get_instructions(code):
        if step.opname == "RETURN_VALUE":
            return frame.stack.pop()
        if step.opname == "RETURN_CONST":
            return PLAIN
        if not frame.take(step):
            return UNKNOWN
    return UNKNOWN


class _Frame:
    """What is known of the values on the stack of a call, and of its local variables."""

    def __init__(self, function: types.FunctionType, element: str) -> None:
        self.stack: list[str] = []
        self._local: dict[str, str] = {element: PLAIN}
        self._function = function

    def take(self, step: dis.Instruction) -> bool:
        """Follows an instruction; False for a branch, a loop, or something newer than this list."""
        if step.opname in _IGNORED:
            return True
        return self._loads(step) or self._stores(step) or self._computes(step) or self._builds(step)

    def _loads(self, step: dis.Instruction) -> bool:
        name, stack = step.opname, self.stack
        if name in ("LOAD_CONST", "LOAD_SMALL_INT"):
            stack.append(PLAIN)
        elif name.startswith("LOAD_FAST"):
            names = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            stack.extend(self._local.get(variable, UNKNOWN) for variable in names)
        elif name == "PUSH_NULL":
            stack.append("null")
        elif name == "LOAD_GLOBAL":
            self._load_global(step)
        elif name in _LOADS_UNKNOWN:
            stack.append(UNKNOWN)
        elif name in ("LOAD_ATTR", "LOAD_METHOD"):
            stack[-1] = UNKNOWN
            if name == "LOAD_METHOD" or step.argrepr.endswith("NULL|self"):
                stack.append(UNKNOWN)
        else:
            return False
        return True

    def _load_global(self, step: dis.Instruction) -> None:
        """A builtin that makes plain values is "function"; 3.11 and 3.12 push the NULL of a call first, later ones after."""
        value = self._function.__globals__.get(step.argval, vars(builtins).get(step.argval))
        known = "function" if _is_in(value, _PLAIN_FUNCTIONS) else UNKNOWN
        if step.argrepr.startswith("NULL"):
            self.stack.extend(["null", known])
        elif step.argrepr.endswith("NULL"):
            self.stack.extend([known, "null"])
        else:
            self.stack.append(known)

    def _stores(self, step: dis.Instruction) -> bool:
        name = step.opname
        if name == "STORE_FAST":
            self._local[step.argval] = _named(self.stack.pop())
        elif name == "STORE_FAST_STORE_FAST":
            for variable in step.argval:
                self._local[variable] = _named(self.stack.pop())
        elif name == "UNPACK_SEQUENCE":
            self._replace(1, *[UNKNOWN] * (step.arg or 0))
        elif name == "POP_TOP":
            self._replace(1)
        else:
            return False
        return True

    def _computes(self, step: dis.Instruction) -> bool:
        name, argument = step.opname, step.arg or 0
        if name == "BINARY_OP":
            self._replace(2, UNKNOWN if "[" in step.argrepr else PLAIN)
        elif name in _TWO_TO_PLAIN:
            self._replace(2, PLAIN)
        elif name in _ONE_TO_PLAIN:
            self._replace(1, PLAIN)
        elif name == "BINARY_SUBSCR":
            self._replace(2, UNKNOWN)
        elif name == "BINARY_SLICE":
            self._replace(3, UNKNOWN)
        elif name == "CALL":
            called = self.stack[len(self.stack) - argument - 2 : len(self.stack) - argument]
            self._replace(argument + 2, PLAIN if "function" in called else UNKNOWN)
        else:
            return False
        return True

    def _builds(self, step: dis.Instruction) -> bool:
        name, argument = step.opname, step.arg or 0
        if name in ("BUILD_TUPLE", "BUILD_LIST"):
            items = self.stack[len(self.stack) - argument :]
            self._replace(argument, PLAIN if UNKNOWN in items or "null" in items else ITEMS)
        elif name in ("BUILD_STRING", "BUILD_SET"):
            self._replace(argument, PLAIN)
        elif name == "BUILD_MAP":
            self._replace(2 * argument, PLAIN)
        elif name == "FORMAT_VALUE":
            self._replace(2 if argument & 0x04 else 1, PLAIN)
        elif name == "FORMAT_WITH_SPEC":
            self._replace(2, PLAIN)
        else:
            return False
        return True

    def _replace(self, count: int, *kinds: str) -> None:
        """Takes so many values from the stack, and puts these on it."""
        if count > len(self.stack):
            raise IndexError("the stack has fewer values")
        del self.stack[len(self.stack) - count :]
        self.stack.extend(kinds)


def _named(kind: str) -> str:
    """What is known of a value once it has a name: a list may then get other items."""
    return PLAIN if kind == ITEMS else kind
