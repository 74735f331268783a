"""The hint of values for tagged outputs, `TaggedOutput[Literal['tag'], T]`, and how it is split off.

pvalue is built on type hints, so TaggedOutput is known here by module and name only.
"""

from __future__ import annotations

import typing
from typing import Any as AnyObject

from hornbeam.typehints.constraint import Any, Hint, TypeConstraint, hint_name
from hornbeam.typehints.unions import UnionConstraint, make_union

__all__ = ["TaggedOutputHint", "is_tagged_output", "name_in_pvalue", "split_tagged_output"]

_PVALUE_MODULE = "hornbeam.pvalue"


class TaggedOutputHint(TypeConstraint):
    """A value for one of some tagged outputs; without tags, for any."""

    def __init__(self, tags: tuple[str, ...], inner_type: Hint) -> None:
        self.tags = tags
        self.inner_type = inner_type

    def type_check(self, instance: AnyObject) -> None:
        """Takes everything; the value is checked where its output is."""

    def is_supertype_of(self, sub: Hint) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TaggedOutputHint)
            and self.tags == other.tags
            and bool(self.inner_type == other.inner_type)
        )

    def __hash__(self) -> int:
        return hash((self.tags, self.inner_type))

    def __repr__(self) -> str:
        tags = ", ".join(map(repr, self.tags)) or "Any"
        return f"TaggedOutput[{tags}, {hint_name(self.inner_type)}]"


def name_in_pvalue(typ: AnyObject) -> str:
    """The name of a class of `hornbeam.pvalue`, or of the one that an annotation applies; '' for others."""
    cls = typing.get_origin(typ) or typ
    return cls.__name__ if isinstance(cls, type) and cls.__module__ == _PVALUE_MODULE else ""


def is_tagged_output(annotation: AnyObject) -> bool:
    """Whether this is TaggedOutput, bare or with parameters."""
    return isinstance(annotation, TaggedOutputHint) or name_in_pvalue(annotation) == "TaggedOutput"


def literal_tags(tag_annotation: AnyObject) -> tuple[str, ...]:
    """The tags in `Literal['a', 'b']`; none for anything else."""
    if typing.get_origin(tag_annotation) is not typing.Literal:
        return ()
    return tuple(tag for tag in typing.get_args(tag_annotation) if isinstance(tag, str))


def split_tagged_output(hint: Hint) -> tuple[Hint, dict[str, Hint]]:
    """The hint of the main output, and those of tagged outputs, of elements with this hint.

    A function that only gives tagged outputs has main output Any.
    """
    members = hint.args if isinstance(hint, UnionConstraint) else (hint,)
    main = [member for member in members if not is_tagged_output(member)]
    if len(main) == len(members):
        return hint, {}
    tagged: dict[str, Hint] = {}
    for member in members:
        for tag in member.tags if isinstance(member, TaggedOutputHint) else ():
            known = (tagged[tag],) if tag in tagged else ()
            tagged[tag] = make_union((*known, member.inner_type))
    return (make_union(main) if main else Any), tagged
