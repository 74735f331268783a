"""A graph as JSON: versioned, strict, and the same graph when it is read again.

The document is {"format": "hornbeam.graph", "version": 1, "graph": {...}}; the fields inside are those of
`hornbeam.graph.model`, those that have their default left out, bytes as base64. A reader refuses what it does
not know: an unknown field could change the meaning of the others.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from hornbeam.graph import model
from hornbeam.graph.errors import GraphError
from hornbeam.graph.validate import validate

FORMAT = "hornbeam.graph"


def to_json(graph: model.Graph, *, indent: int | None = 1) -> str:
    """The graph as text."""
    document = {
        "format": FORMAT,
        "version": model.FORMAT_VERSION,
        "graph": _GRAPH.write(graph, "graph"),
    }
    return json.dumps(document, indent=indent, allow_nan=False)


def from_json(text: str | bytes) -> model.Graph:
    """The graph that `to_json` wrote; GraphError says where the text is wrong."""
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, GraphError):
            raise
        raise GraphError(f"This is not a graph: it is not JSON ({error}).") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise GraphError(f'This is JSON, but not a graph: it does not say "format": "{FORMAT}".')
    version = document.get("version")
    if version != model.FORMAT_VERSION or isinstance(version, bool):
        raise GraphError(
            f"This graph has the format version {version!r}; this hornbeam reads version "
            f"{model.FORMAT_VERSION}. Write it again with the hornbeam that shall read it."
        )
    for name in document:
        if name not in ("format", "version", "graph"):
            raise GraphError(f"The document has the unknown field {name!r}.")
    if "graph" not in document:
        raise GraphError("The document lacks the field 'graph'.")
    graph: model.Graph = _GRAPH.read(document["graph"], "graph")
    validate(graph)
    return graph


def save(graph: model.Graph, path: str | os.PathLike[str]) -> None:
    """Write the graph to a file, which has its old or its new content whole, whatever happens."""
    target = pathlib.Path(path)
    text = to_json(graph)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> model.Graph:
    """The graph of a file that `save` wrote; GraphError names the file."""
    try:
        text = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise GraphError(f"Cannot read the graph in {os.fspath(path)}: {error.strerror or error}.") from error
    try:
        return from_json(text)
    except GraphError as error:
        raise GraphError(f"{os.fspath(path)}: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise GraphError(f"This is not a graph: the field {twice!r} stands twice in one object.")
    return result


def _refuse_constant(text: str) -> Any:
    raise GraphError(f"This is not a graph: {text} is not JSON.")


@attrs.frozen
class _Form:
    """How values of one kind are written to and read from JSON; both know their place, for messages."""

    write: Callable[[Any, str], Any]
    read: Callable[[Any, str], Any]


def _wrong(place: str, wanted: str, found: Any) -> GraphError:
    return GraphError(f"{place} is {wanted}; found {json.dumps(found, default=repr):.80}.")


def _plain(kind: type, wanted: str) -> _Form:
    def check(value: Any, place: str) -> Any:
        if type(value) is not kind:
            raise _wrong(place, wanted, value)
        return value

    return _Form(check, check)


def _write_bytes(value: Any, place: str) -> str:
    if not isinstance(value, bytes):
        raise GraphError(f"{place} is bytes; found {type(value).__name__}.")
    return base64.b64encode(value).decode("ascii")


def _read_bytes(value: Any, place: str) -> bytes:
    if type(value) is not str:
        raise _wrong(place, "base64 text", value)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GraphError(f"{place} is not base64: {error}.") from error


def _check_json(value: Any, place: str) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise GraphError(f"{place} is {value!r}, which JSON cannot hold. Write it as text.")
        return value
    if kind is list:
        return [_check_json(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise GraphError(f"{place} has the key {key!r}; JSON knows only text.")
        return {key: _check_json(item, f"{place}.{key}") for key, item in value.items()}
    raise GraphError(f"{place} is a {kind.__name__}, which JSON cannot hold.")


def _check_spec(value: Any, place: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(place, "an object", value)
    return _check_json(value, place)


def _tuple_of(item: _Form) -> _Form:
    def write(value: Any, place: str) -> list[Any]:
        return [item.write(part, f"{place}[{index}]") for index, part in enumerate(value)]

    def read(value: Any, place: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _wrong(place, "a list", value)
        return tuple(item.read(part, f"{place}[{index}]") for index, part in enumerate(value))

    return _Form(write, read)


def _mapping_of(item: _Form) -> _Form:
    def write(value: Any, place: str) -> dict[str, Any]:
        return {str(key): item.write(part, f"{place}.{key}") for key, part in value.items()}

    def read(value: Any, place: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise _wrong(place, "an object", value)
        return {key: item.read(part, f"{place}.{key}") for key, part in value.items()}

    return _Form(write, read)


def _attrs_of(cls: type[Any], **forms: _Form) -> _Form:
    """The form of an attrs class: an object; fields that have their default may be left out."""
    fields = {field.name: field for field in attrs.fields(cls)}
    defaults = {name: _default(field) for name, field in fields.items() if field.default is not attrs.NOTHING}
    if forms.keys() != fields.keys():
        raise TypeError(f"The JSON form of {cls.__name__} does not cover {forms.keys() ^ fields.keys()}.")

    def write(value: Any, place: str) -> dict[str, Any]:
        result = {}
        for name, form in forms.items():
            part = getattr(value, name)
            if name not in defaults or part != defaults[name]:
                result[name] = form.write(part, f"{place}.{name}")
        return result

    def read(value: Any, place: str) -> Any:
        if type(value) is not dict:
            raise _wrong(place, "an object", value)
        for name in value:
            if name not in fields:
                raise GraphError(f"{place} has the unknown field {name!r}. Known: {', '.join(fields)}.")
        for name in fields:
            if name not in value and name not in defaults:
                raise GraphError(f"{place} lacks the field {name!r}.")
        return cls(**{name: forms[name].read(part, f"{place}.{name}") for name, part in value.items()})

    return _Form(write, read)


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


_TEXT = _plain(str, "text")
_INT = _plain(int, "a whole number")
_BOOL = _plain(bool, "true or false")
_BYTES = _Form(_write_bytes, _read_bytes)
_SPEC = _Form(_check_spec, _check_spec)
_IDS = _tuple_of(_TEXT)
_PORTS = _mapping_of(_TEXT)

_FUNCTION = _attrs_of(model.Function, urn=_TEXT, spec=_SPEC, payload=_BYTES)
_CODER = _attrs_of(model.Coder, urn=_TEXT, components=_IDS, spec=_SPEC, payload=_BYTES)
_WINDOWING = _attrs_of(
    model.WindowingStrategy,
    window_fn=_FUNCTION,
    window_coder=_TEXT,
    trigger=_SPEC,
    accumulation_mode=_TEXT,
    timestamp_combiner=_TEXT,
    allowed_lateness_micros=_INT,
    closing_behavior=_TEXT,
    on_time_behavior=_TEXT,
    merging=_BOOL,
)
_PCOLLECTION = _attrs_of(
    model.PCollection, coder=_TEXT, windowing=_TEXT, is_bounded=_BOOL, element_type=_TEXT
)
_SIDE_INPUT = _attrs_of(model.SideInput, access=_TEXT, view=_TEXT, spec=_SPEC, window_mapping=_BYTES)
_TRANSFORM = _attrs_of(
    model.Transform,
    label=_TEXT,
    urn=_TEXT,
    spec=_SPEC,
    payload=_BYTES,
    inputs=_PORTS,
    outputs=_PORTS,
    side_inputs=_mapping_of(_SIDE_INPUT),
    subtransforms=_IDS,
    display_data=_tuple_of(_SPEC),
    annotations=_mapping_of(_BYTES),
    resource_hints=_mapping_of(_BYTES),
)
_GRAPH = _attrs_of(
    model.Graph,
    transforms=_mapping_of(_TRANSFORM),
    pcollections=_mapping_of(_PCOLLECTION),
    windowings=_mapping_of(_WINDOWING),
    coders=_mapping_of(_CODER),
    roots=_IDS,
    requirements=_IDS,
)
