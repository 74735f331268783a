"""Coder: how the elements of a PCollection become bytes and come back.

A user's coder defines `encode` and `decode`. The coders of this package define `encode_to` and `decode_from`,
which work on a stream and know whether other values follow (`nested`): only then do they mark where they end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import cloudpickle

from hornbeam.coders import urns
from hornbeam.coders.streams import Reader, write_prefixed
from hornbeam.error import DataError, PipelineError
from hornbeam.utils import pickling

if TYPE_CHECKING:
    from hornbeam.coders.typecoders import CoderRegistry

CoderFunction = tuple[str, tuple["Coder", ...], dict[str, Any], bytes]


class DeterminismError(PipelineError, TypeError, ValueError):
    """A key, or a key's coder, has no deterministic encoding, so equal keys might not meet."""


class Coder:
    """How values become bytes. Subclasses define at least `encode` and `decode`.

    Two coders are equal when they are of one class and have equal attributes.
    """

    urn: ClassVar[str | None] = None

    def encode(self, value: Any) -> bytes:
        """The bytes of a value that stands alone."""
        raise NotImplementedError(f"{type(self).__name__} does not define encode(value).")

    def decode(self, encoded: bytes) -> Any:
        """The value whose bytes these are."""
        raise NotImplementedError(f"{type(self).__name__} does not define decode(encoded).")

    def encode_nested(self, value: Any) -> bytes:
        """The bytes of a value inside others: they tell where they end."""
        out = bytearray()
        self.encode_to(value, out, True)
        return bytes(out)

    def decode_nested(self, encoded: bytes) -> Any:
        """The value whose nested encoding these bytes are."""
        reader = Reader(encoded)
        value = self.decode_from(reader, True)
        _refuse_rest(self, reader)
        return value

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a value to a stream."""
        data = self.encode(value)
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"{self!r}.encode returned {type(data).__name__}; it must return bytes.")
        if nested:
            write_prefixed(bytes(data), out)
        else:
            out += data

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read a value from a stream."""
        return self.decode(reader.prefixed() if nested else reader.rest())

    def is_deterministic(self) -> bool:
        """Whether equal values always have equal bytes; False unless a subclass says so."""
        return False

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """This coder, or one for the same values that is deterministic; DeterminismError if there is none.

        `step_label` names the step that needs it; `error_message` replaces the message.
        """
        if self.is_deterministic():
            return self
        raise DeterminismError(
            error_message
            or f"The coder {self!r} cannot be made deterministic for the keys of '{step_label}'. Give the "
            "keys a type with a deterministic coder; or, if it is one, let its is_deterministic() return True."
        )

    def estimate_size(self, value: Any) -> int:
        """About how many bytes the value takes when encoded."""
        return len(self.encode(value))

    def is_kv_coder(self) -> bool:
        """Whether it encodes pairs of a key and a value."""
        return False

    def key_coder(self) -> Coder:
        """The coder of the keys; ValueError unless `is_kv_coder()`."""
        raise ValueError(f"Not a KV coder: {self!r}.")

    def value_coder(self) -> Coder:
        """The coder of the values; ValueError unless `is_kv_coder()`."""
        raise ValueError(f"Not a KV coder: {self!r}.")

    def to_type_hint(self) -> Any:
        """The type of the values that it encodes."""
        raise NotImplementedError(f"{type(self).__name__} does not know the type that it encodes.")

    @classmethod
    def from_type_hint(cls, unused_typehint: Any, unused_registry: CoderRegistry) -> Coder:
        """The coder of this class for a type hint; the registry knows the coders of the hint's parts."""
        return cls()

    def version_tag(self) -> str:
        """Names the format; to be changed when the bytes change."""
        return ""

    def components(self) -> tuple[Coder, ...]:
        """The coders of the parts, in order."""
        return ()

    def spec(self) -> dict[str, Any]:
        """What a person may want to know besides the components, as JSON values."""
        return {}

    def payload(self) -> bytes:
        """What `from_function` needs besides components and spec."""
        return b""

    @classmethod
    def from_function(cls, components: tuple[Coder, ...], spec: Mapping[str, Any], payload: bytes) -> Self:
        """The coder whose components, spec and payload these are."""
        return cls(*components)

    def to_function(self) -> CoderFunction:
        """URN, components, spec and payload, as the portable graph keeps them."""
        if self.urn is not None and _CLASSES.get(self.urn) is type(self):
            return self.urn, self.components(), self.spec(), self.payload()
        kind = type(self)
        return urns.PYTHON, (), {"type": f"{kind.__module__}.{kind.__qualname__}"}, pickling.dumps(self)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        parts = ", ".join(repr(part) for part in self.components())
        return f"{type(self).__name__}({parts})" if parts else type(self).__name__


class FastCoder(Coder):
    """A coder that defines `encode_to` and `decode_from`."""

    def encode(self, value: Any) -> bytes:
        """The bytes of a value that stands alone."""
        out = bytearray()
        self.encode_to(value, out, False)
        return bytes(out)

    def decode(self, encoded: bytes) -> Any:
        """The value whose bytes these are; DataError if they are not those of a value."""
        reader = Reader(encoded)
        try:
            value = self.decode_from(reader, False)
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise DataError(f"{self!r} cannot decode {len(encoded)} bytes: {error}") from error
        _refuse_rest(self, reader)
        return value

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a value to a stream."""
        raise NotImplementedError(f"{type(self).__name__} does not define encode_to.")

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read a value from a stream."""
        raise NotImplementedError(f"{type(self).__name__} does not define decode_from.")


def _refuse_rest(coder: Coder, reader: Reader) -> None:
    if reader.remaining:
        raise DataError(
            f"{coder!r} decoded a value and {reader.remaining} bytes were left over. "
            "Were they written by another coder?"
        )


C = TypeVar("C", bound=type[Coder])
_CLASSES: dict[str, type[Coder]] = {}


def known_by(urn: str) -> Callable[[C], C]:
    """Class decorator: the coder stands in graphs under this URN instead of as a pickle."""

    def register(cls: C) -> C:
        cls.urn = urn
        _CLASSES[urn] = cls
        return cls

    return register


def coder_from_function(
    urn: str, components: tuple[Coder, ...], spec: Mapping[str, Any], payload: bytes
) -> Coder:
    """The inverse of `Coder.to_function`. DataError for an unknown URN or a payload that is no coder."""
    if urn == urns.PYTHON:
        try:
            coder = cloudpickle.loads(payload)
        except Exception as error:
            raise DataError(
                f"The coder {spec.get('type', 'of a graph')!r} cannot be unpickled: {error}"
            ) from error
        if not isinstance(coder, Coder):
            raise DataError(f"A graph's coder payload holds {type(coder).__name__}, not a Coder.")
        return coder
    cls = _CLASSES.get(urn)
    if cls is None:
        raise DataError(f"Unknown coder URN {urn!r}. Known: {', '.join(sorted(_CLASSES))}.")
    try:
        return cls.from_function(tuple(components), spec, payload)
    except TypeError as error:
        raise DataError(f"Coder {urn!r} cannot have {len(components)} components: {error}") from error
