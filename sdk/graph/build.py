"""GraphBuilder: makes a Graph from parts, gives them ids and shares those that are equal.

Ids are short, readable and follow the order of the calls, so the same pipeline always gives the same graph:
t1 … for transforms, pc1 … for pcollections, w1 … for windowing strategies, c1 … for coders.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from hornbeam.coders import Coder
from hornbeam.graph import model
from hornbeam.graph.errors import GraphError
from hornbeam.graph.validate import validate


class GraphBuilder:
    """Collects the parts of one graph; `build` puts them together."""

    def __init__(self) -> None:
        self._transforms: dict[str, model.Transform | None] = {}
        self._pcollections: dict[str, model.PCollection] = {}
        self._windowings: dict[str, model.WindowingStrategy] = {}
        self._coders: dict[str, model.Coder] = {}
        self._ids: dict[tuple[Any, ...], str] = {}
        self._known_coders: dict[Coder, str] = {}
        self._requirements: dict[str, None] = {}

    def add_coder(self, coder: Coder) -> str:
        """The id of the coder; equal coders have one id."""
        hashable = getattr(coder, "__hash__", None) is not None  # not so with __eq__ alone
        if hashable and coder in self._known_coders:
            return self._known_coders[coder]
        urn, components, spec, payload = coder.to_function()
        ids = tuple(self.add_coder(component) for component in components)
        part = model.Coder(urn, ids, json_mapping(spec, f"coder {coder!r}"), payload)
        key = ("coder", urn, ids, json.dumps(part.spec, sort_keys=True), payload)
        id_ = self._shared(key, "c", self._coders, part)
        if hashable:
            self._known_coders[coder] = id_
        return id_

    def add_windowing(self, windowing: model.WindowingStrategy, window_coder: Coder) -> str:
        """The id of the strategy, with the coder of its windows filled in; equal strategies have one id."""
        window_fn = windowing.window_fn
        what = f"window function {window_fn.urn}"
        part = attrs.evolve(
            windowing,
            window_coder=self.add_coder(window_coder),
            window_fn=attrs.evolve(window_fn, spec=json_mapping(window_fn.spec, what)),
            trigger=json_mapping(windowing.trigger, f"trigger over {what}"),
        )
        fields = attrs.asdict(part)
        payload = fields["window_fn"].pop("payload")
        key = ("windowing", json.dumps(fields, sort_keys=True), payload)
        return self._shared(key, "w", self._windowings, part)

    def add_pcollection(
        self, coder_id: str, windowing_id: str, is_bounded: bool = True, element_type: str = "Any"
    ) -> str:
        """The id of a new pcollection."""
        id_ = f"pc{len(self._pcollections) + 1}"
        self._pcollections[id_] = model.PCollection(coder_id, windowing_id, bool(is_bounded), element_type)
        return id_

    def add_requirement(self, requirement: str) -> None:
        """Note what a runner must know of to run this graph; once is enough."""
        self._requirements[requirement] = None

    def reserve_transform(self) -> str:
        """The id of a transform whose content comes later by `set_transform`."""
        id_ = f"t{len(self._transforms) + 1}"
        self._transforms[id_] = None
        return id_

    def set_transform(self, id_: str, transform: model.Transform) -> None:
        """Give a reserved id its content. GraphError if its spec does not hold JSON values."""
        if id_ not in self._transforms:
            raise GraphError(f"The id {id_!r} of '{transform.label}' was not given by reserve_transform().")
        what = f"transform '{transform.label}'"
        self._transforms[id_] = attrs.evolve(
            transform,
            spec=json_mapping(transform.spec, what),
            display_data=tuple(
                json_mapping(item, f"display data of {what}", lenient=True) for item in transform.display_data
            ),
            side_inputs={
                tag: attrs.evolve(side, spec=json_mapping(side.spec, f"side input {tag!r} of {what}"))
                for tag, side in transform.side_inputs.items()
            },
        )

    def add_transform(self, transform: model.Transform) -> str:
        """The id of a transform whose content is known at once."""
        id_ = self.reserve_transform()
        self.set_transform(id_, transform)
        return id_

    def build(self, roots: Iterable[str]) -> model.Graph:
        """The graph whose outermost transforms are `roots`; GraphError if it is not valid."""
        transforms = {}
        for id_, transform in self._transforms.items():
            if transform is None:
                raise GraphError(
                    f"Transform {id_!r} was reserved, but set_transform() never gave it content."
                )
            transforms[id_] = transform
        graph = model.Graph(
            transforms=transforms,
            pcollections=dict(self._pcollections),
            windowings=dict(self._windowings),
            coders=dict(self._coders),
            roots=tuple(roots),
            requirements=tuple(self._requirements),
        )
        validate(graph)
        return graph

    def _shared(self, key: tuple[Any, ...], prefix: str, parts: dict[str, Any], part: Any) -> str:
        id_ = self._ids.get(key)
        if id_ is None:
            id_ = self._ids[key] = f"{prefix}{len(parts) + 1}"
            parts[id_] = part
        return id_


def json_mapping(value: Mapping[str, Any], what: str, *, lenient: bool = False) -> dict[str, Any]:
    """The mapping as plain JSON values: tuples become lists, subclasses their plain type.

    A value that JSON cannot hold becomes its text if `lenient`, else a GraphError that names `what` and the
    place.
    """
    result = _json_value(value, what, "", lenient)
    if not isinstance(result, dict):
        raise GraphError(f"The spec of {what} is a mapping; found {type(value).__name__}.")
    return result


def _json_value(value: Any, what: str, place: str, lenient: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else repr(number)
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                if not lenient:
                    raise GraphError(
                        f"The spec of {what} has the key {key!r}{_at(place)}; JSON knows only text."
                    )
                key = str(key)
            result[str.__str__(key)] = _json_value(item, what, f"{place}.{key}", lenient)
        return result
    if isinstance(value, (list, tuple)):
        return [_json_value(item, what, f"{place}[{i}]", lenient) for i, item in enumerate(value)]
    if lenient:
        return str(value)
    raise GraphError(
        f"The spec of {what} holds {value!r:.100} of type {type(value).__name__}{_at(place)}, which JSON "
        "cannot hold. Put text there, or move the object to the payload."
    )


def _at(place: str) -> str:
    return f" at {place.lstrip('.')}" if place else ""
