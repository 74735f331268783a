"""Types that can be told without looking into a function: of values, of builtins, of annotated callables."""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any as AnyObject

from hornbeam.typehints.constraint import (
    Any,
    Hint,
    bind_type_variables,
    match_all,
)
from hornbeam.typehints.containers import (
    CollectionTypeConstraint,
    DictConstraint,
    FrozenSetTypeConstraint,
    IteratorTypeConstraint,
    ListConstraint,
    SetTypeConstraint,
    TupleConstraint,
    TupleSequenceConstraint,
)
from hornbeam.typehints.decorators import get_type_hints
from hornbeam.typehints.row_type import RowTypeConstraint
from hornbeam.typehints.rules import normalize, yielded_type
from hornbeam.typehints.tagged_output import name_in_pvalue
from hornbeam.typehints.unions import make_union

__all__ = ["element_type", "infer_return_type", "instance_to_type", "key_value_types", "union"]

_OF_ITEMS: dict[type, Callable[[Hint], Hint]] = {
    list: ListConstraint,
    set: SetTypeConstraint,
    frozenset: FrozenSetTypeConstraint,
}


def instance_to_type(o: AnyObject) -> Hint:
    """The narrowest hint that a value has; of a collection all items are looked at."""
    kind = type(o)
    if kind in _OF_ITEMS:
        return _OF_ITEMS[kind](_type_of_all(o))
    if kind is tuple:
        return TupleConstraint(*map(instance_to_type, o))
    if kind is dict:
        return DictConstraint(_type_of_all(o.keys()), _type_of_all(o.values()))
    if name_in_pvalue(kind) == "Row":
        return RowTypeConstraint.from_fields(
            [(name, instance_to_type(value)) for name, value in o.as_dict().items()]
        )
    return kind


def _type_of_all(values: Iterable[AnyObject]) -> Hint:
    """The union of the values' types; Any when there are none."""
    kinds = set(map(type, values))
    if not kinds:
        return Any
    if not any(kind in _OF_ITEMS or kind in (tuple, dict) or name_in_pvalue(kind) for kind in kinds):
        return make_union(sorted(kinds, key=lambda kind: kind.__name__))
    return make_union(dict.fromkeys(map(instance_to_type, values)))


def union(a: Hint, b: Hint) -> Hint:
    """The union of two hints."""
    return make_union((a, b))


def element_type(hint: Hint) -> Hint:
    """The hint of the items of an iterable; Any when they are not known or there are none."""
    try:
        return yielded_type(hint)
    except ValueError:
        return Any


def key_value_types(kv_hint: Hint) -> tuple[Hint, Hint]:
    """The hints of the keys and values of a dict or pair; Any where they are not known."""
    hint = normalize(kv_hint)
    if isinstance(hint, DictConstraint) or (isinstance(hint, TupleConstraint) and len(hint.args) == 2):
        return hint.args[0], hint.args[1]
    return Any, Any


def infer_return_type(
    c: Callable[..., AnyObject], input_types: Sequence[Hint], debug: bool = False, depth: int = 5
) -> Hint:
    """The hint of what a callable returns for arguments with these hints; Any when it cannot be told.

    Knows declared and annotated types (type variables are bound to the arguments), classes, the common
    builtins and methods of str and bytes, `operator.itemgetter` and `attrgetter`.
    """
    inputs = [normalize(hint, none_as_type=True) for hint in input_types]
    if isinstance(c, type):
        return _made_by(c, inputs)
    try:
        known = _RETURNS.get(c)
    except TypeError:  # not hashable
        known = None
    if known is not None:
        return known(inputs) if isinstance(known, types.FunctionType) else known
    if isinstance(c, (operator.itemgetter, operator.attrgetter)):
        return _picked(c, inputs)
    return _declared(c, inputs)


def _declared(c: Callable[..., AnyObject], inputs: list[Hint]) -> Hint:
    if isinstance(c, functools.partial):
        inputs = [instance_to_type(arg) for arg in c.args] + inputs
        if get_type_hints(c.func).output_types is None:
            return infer_return_type(c.func, inputs)
        c = c.func
    hints = get_type_hints(c)
    if not hints.has_simple_output_type() or hints.output_types is None:
        return Any
    output = hints.output_types[0][0]
    declared = hints.input_types[0] if hints.input_types else ()
    return bind_type_variables(output, match_all(zip(declared, inputs)))


def _made_by(cls: type, inputs: list[Hint]) -> Hint:
    """What calling a class gives; a collection keeps the types of the items."""
    first = inputs[0] if inputs else TupleConstraint()
    if cls in _OF_ITEMS:
        return _OF_ITEMS[cls](element_type(first))
    if cls is tuple:
        return first if isinstance(first, TupleConstraint) else TupleSequenceConstraint(element_type(first))
    if cls is dict:
        source = first if isinstance(first, DictConstraint) else element_type(first)
        return DictConstraint(*key_value_types(source))
    if cls is enumerate:
        return IteratorTypeConstraint(TupleConstraint(int, element_type(first)))
    if cls is zip:
        return IteratorTypeConstraint(TupleConstraint(*map(element_type, inputs)))
    if cls is reversed:
        return IteratorTypeConstraint(element_type(first))
    return Any if cls in (map, filter, type, super) else cls


def _picked(
    getter: operator.itemgetter[AnyObject] | operator.attrgetter[AnyObject], inputs: list[Hint]
) -> Hint:
    """What itemgetter or attrgetter takes out of the element."""
    names: tuple[AnyObject, ...] = getter.__reduce__()[1]  # type: ignore[assignment]
    if len(inputs) != 1:
        return Any
    pick = _item_of if isinstance(getter, operator.itemgetter) else _field_of
    picked = [pick(inputs[0], name) for name in names]
    return picked[0] if len(picked) == 1 else TupleConstraint(*picked)


def _item_of(hint: Hint, key: AnyObject) -> Hint:
    if isinstance(hint, TupleConstraint) and isinstance(key, int) and -len(hint.args) <= key < len(hint.args):
        return hint.args[key]
    if isinstance(hint, DictConstraint):
        return hint.value_type
    if isinstance(hint, (ListConstraint, TupleSequenceConstraint)) and isinstance(key, int):
        return hint.inner_type
    return str if hint is str else Any


def _field_of(hint: Hint, name: str) -> Hint:
    row = hint if isinstance(hint, RowTypeConstraint) else None
    if row is None and isinstance(hint, type):
        row = RowTypeConstraint.from_user_type(hint)
    return dict(row.fields).get(name, Any) if row is not None else Any


def _same(inputs: list[Hint]) -> Hint:
    return inputs[0] if inputs and inputs[0] in (int, float, complex) else Any


def _smallest_or_largest(inputs: list[Hint]) -> Hint:
    return element_type(inputs[0]) if len(inputs) == 1 else make_union(inputs) if inputs else Any


def _sum(inputs: list[Hint]) -> Hint:
    item = element_type(inputs[0]) if len(inputs) == 1 else Any
    if item is bool or item is int:
        return int
    # The sum of nothing is the int 0.
    return make_union((int, item)) if item is float else Any


def _sorted(inputs: list[Hint]) -> Hint:
    return ListConstraint(element_type(inputs[0]) if inputs else Any)


def _rounded(inputs: list[Hint]) -> Hint:
    return int if len(inputs) == 1 and inputs[0] in (int, float, bool) else Any


def _dict_part(part: Callable[[DictConstraint], Hint]) -> Callable[[list[Hint]], Hint]:
    def infer(inputs: list[Hint]) -> Hint:
        return part(inputs[0]) if inputs and isinstance(inputs[0], DictConstraint) else Any

    return infer


_LINES = ListConstraint(str)
_PIECES = ListConstraint(bytes)

#: A hint, or a function from the arguments' hints to one.
_RETURNS: dict[AnyObject, AnyObject] = {
    **dict.fromkeys((len, hash, id, ord, str.count, str.find, str.index, str.rfind), int),
    **dict.fromkeys((repr, ascii, chr, hex, oct, bin, format), str),
    **dict.fromkeys((all, any, callable, isinstance, issubclass, hasattr), bool),
    **dict.fromkeys((str.isalpha, str.isdigit, str.isspace, str.isupper, str.islower, str.isalnum), bool),
    **dict.fromkeys((str.startswith, str.endswith, bytes.startswith, bytes.endswith), bool),
    **dict.fromkeys((str.upper, str.lower, str.title, str.capitalize, str.swapcase, str.casefold), str),
    **dict.fromkeys((str.strip, str.lstrip, str.rstrip, str.replace, str.format, str.join, str.zfill), str),
    **dict.fromkeys((str.split, str.rsplit, str.splitlines), _LINES),
    **dict.fromkeys((bytes.split, bytes.rsplit, bytes.splitlines), _PIECES),
    **dict.fromkeys((bytes.strip, bytes.lower, bytes.upper, bytes.replace, str.encode), bytes),
    bytes.decode: str,
    bytes.hex: str,
    str.partition: TupleConstraint(str, str, str),
    str.rpartition: TupleConstraint(str, str, str),
    operator.not_: bool,
    operator.truth: bool,
    abs: _same,
    min: _smallest_or_largest,
    max: _smallest_or_largest,
    sum: _sum,
    sorted: _sorted,
    round: _rounded,
    dict.keys: _dict_part(lambda hint: CollectionTypeConstraint(hint.key_type)),
    dict.values: _dict_part(lambda hint: CollectionTypeConstraint(hint.value_type)),
    dict.items: _dict_part(lambda hint: CollectionTypeConstraint(TupleConstraint(*hint.args))),
    dict.get: _dict_part(lambda hint: make_union((hint.value_type, type(None)))),
}
