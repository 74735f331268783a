"""What the annotation `PCollection[T]` of a composite's `expand` says about elements."""

from __future__ import annotations

import typing
from typing import Any as AnyObject

from hornbeam.typehints.constraint import Any, Hint
from hornbeam.typehints.native_type_compatibility import convert_to_beam_type
from hornbeam.typehints.tagged_output import name_in_pvalue

__all__ = ["inner_of_pcollection"]


def inner_of_pcollection(annotation: AnyObject) -> Hint:
    """The hint of the elements of `PCollection[T]`; Any for one that says nothing; None for anything else."""
    name = name_in_pvalue(annotation)
    if name == "PCollection":
        args = typing.get_args(annotation)
        return convert_to_beam_type(args[0]) if args else Any
    return Any if name in ("PBegin", "PDone", "DoOutputsTuple", "PValue") else None
