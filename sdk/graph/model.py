"""The portable pipeline as frozen values: transforms, pcollections, windowing strategies, coders.

A Graph refers to its parts by id, so that it can be written as JSON, compared step by step and read by a
runner that has never seen the author's classes. What a person may read stands in `spec` (plain JSON values);
user code stands beside it in `payload` (a cloudpickle of one object, or empty).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from hornbeam.graph import urns

Json: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None
Spec: TypeAlias = Mapping[str, Any]

#: Raised when the meaning of the JSON form changes; a reader refuses what it does not know.
FORMAT_VERSION = 1


@attrs.frozen
class Function:
    """A piece of behaviour: a URN, what can be read of it, and the pickled object where it is user code."""

    urn: str
    spec: Spec = attrs.field(factory=dict)
    payload: bytes = b""


@attrs.frozen
class Coder:
    """How elements become bytes. Components are ids of other coders, in order."""

    urn: str
    components: tuple[str, ...] = ()
    spec: Spec = attrs.field(factory=dict)
    payload: bytes = b""


@attrs.frozen
class WindowingStrategy:
    """How a pcollection is windowed, and when and how its groupings fire.

    `trigger` is the trigger's readable form (`hornbeam.transforms.trigger` writes and reads it).
    `allowed_lateness_micros` is event time.
    """

    window_fn: Function
    window_coder: str = ""
    trigger: Spec = attrs.field(factory=lambda: {"type": "default"})
    accumulation_mode: str = "DISCARDING"
    timestamp_combiner: str = "OUTPUT_AT_EOW"
    allowed_lateness_micros: int = 0
    closing_behavior: str = "EMIT_IF_NONEMPTY"
    on_time_behavior: str = "FIRE_ALWAYS"
    merging: bool = False


@attrs.frozen
class PCollection:
    """The edge between transforms. `element_type` is the declared hint, for people; `coder` decides the bytes."""

    coder: str
    windowing: str
    is_bounded: bool = True
    element_type: str = "Any"


@attrs.frozen
class SideInput:
    """How a ParDo reads one of its side inputs.

    `access` is a URN (`urns.SIDE_INPUT_ITERABLE` or `SIDE_INPUT_MULTIMAP`); `view` names the shape the user
    gets (`AsIter`, `AsSingleton` …) and `window_mapping` is a pickled function from main to side window, or
    empty for the default mapping of the side input's window function.
    """

    access: str
    view: str
    spec: Spec = attrs.field(factory=dict)
    window_mapping: bytes = b""


@attrs.frozen
class Transform:
    """One step, primitive (no subtransforms) or composite.

    `inputs` and `outputs` map local tags to pcollection ids; a side input's tag stands in `inputs` too and its
    meaning in `side_inputs`. A single main input has the tag `in`, several are `0`, `1` …; a single output is
    `out`, tagged outputs bear their tags.
    """

    label: str
    urn: str
    spec: Spec = attrs.field(factory=dict)
    payload: bytes = b""
    inputs: Mapping[str, str] = attrs.field(factory=dict)
    outputs: Mapping[str, str] = attrs.field(factory=dict)
    side_inputs: Mapping[str, SideInput] = attrs.field(factory=dict)
    subtransforms: tuple[str, ...] = ()
    display_data: tuple[Spec, ...] = ()
    annotations: Mapping[str, bytes] = attrs.field(factory=dict)
    resource_hints: Mapping[str, bytes] = attrs.field(factory=dict)

    @property
    def is_composite(self) -> bool:
        return bool(self.subtransforms) or self.urn == urns.COMPOSITE

    def main_inputs(self) -> dict[str, str]:
        """The inputs that are not side inputs, in order."""
        return {tag: pc for tag, pc in self.inputs.items() if tag not in self.side_inputs}


@attrs.frozen
class Graph:
    """A whole pipeline. All mappings keep insertion order; `roots` are the ids of the outermost transforms."""

    transforms: Mapping[str, Transform] = attrs.field(factory=dict)
    pcollections: Mapping[str, PCollection] = attrs.field(factory=dict)
    windowings: Mapping[str, WindowingStrategy] = attrs.field(factory=dict)
    coders: Mapping[str, Coder] = attrs.field(factory=dict)
    roots: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()

    def leaves(self) -> Iterator[tuple[str, Transform]]:
        """The primitive transforms in the order in which the author applied them."""

        def walk(ids: tuple[str, ...]) -> Iterator[tuple[str, Transform]]:
            for id_ in ids:
                transform = self.transforms[id_]
                if transform.is_composite:
                    yield from walk(transform.subtransforms)
                else:
                    yield id_, transform

        return walk(self.roots)
