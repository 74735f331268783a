"""Tuples, lists, dicts and named tuples of PValues: what transforms take and give when it is more than one.

A place in such a structure has a name: `out` or `in` for a value alone, otherwise its index, field or key,
joined by dots where structures are nested. An output of a `DoOutputsTuple` has its tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hornbeam.pvalue import AsSideInput, DoOutputsTuple, PCollection, PValue


def is_structure(value: Any) -> bool:
    """Whether a value holds PValues: any tuple or dict, and a list of nothing else."""
    if isinstance(value, tuple | dict):
        return True
    return isinstance(value, list) and bool(value) and all(_holds_pvalues(item) for item in value)


def _holds_pvalues(value: Any) -> bool:
    if isinstance(value, PValue | DoOutputsTuple):
        return True
    if isinstance(value, dict):
        return bool(value) and all(map(_holds_pvalues, value.values()))
    return isinstance(value, tuple | list) and bool(value) and all(map(_holds_pvalues, value))


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a structure with their names."""
    if isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items())
    elif hasattr(value, "_fields"):
        yield from zip(value._fields, value)
    else:
        yield from ((str(index), item) for index, item in enumerate(value))


def leaves(value: Any) -> Iterator[Any]:
    """The values at the ends of a structure, in order; a value alone is its own leaf."""
    if isinstance(value, DoOutputsTuple):
        yield from (pcoll for _, pcoll in value.outputs())
    elif isinstance(value, AsSideInput):
        yield value.pcoll
    elif is_structure(value):
        for _, item in children(value):
            yield from leaves(item)
    else:
        yield value


def named_pcollections(value: Any, alone: str, prefix: str = "") -> Iterator[tuple[str, PCollection[Any]]]:
    """The PCollections of a structure with their names; one that stands alone is called `alone`."""
    if isinstance(value, PCollection):
        yield prefix or alone, value
    elif isinstance(value, AsSideInput):
        yield prefix or alone, value.pcoll
    elif isinstance(value, DoOutputsTuple):
        for tag, pcoll in value.outputs():
            name = alone if tag is None else tag
            yield (f"{prefix}.{name}" if prefix else name), pcoll
    elif is_structure(value):
        for name, item in children(value):
            yield from named_pcollections(item, alone, f"{prefix}.{name}" if prefix else name)


def replace(value: Any, change: Callable[[Any], Any]) -> Any:
    """The structure with every leaf changed."""
    if isinstance(value, DoOutputsTuple):
        return tuple(change(pcoll) for pcoll in value)
    if not is_structure(value):
        return change(value)
    if isinstance(value, dict):
        return {key: replace(item, change) for key, item in value.items()}
    if hasattr(value, "_fields"):
        return type(value)(*(replace(item, change) for item in value))
    return type(value)(replace(item, change) for item in value)


def is_result(value: Any) -> bool:
    """Whether expand may return the value: PValues, nothing, or a structure of them."""
    if value is None or isinstance(value, PValue | DoOutputsTuple | AsSideInput):
        return True
    if isinstance(value, dict):
        return all(map(is_result, value.values()))
    return isinstance(value, tuple | list) and all(map(is_result, value))
