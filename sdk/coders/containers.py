"""Coders of values that hold others: tuples, lists, other iterables, maps, optional values, sharded keys."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import TYPE_CHECKING, Any, ClassVar

from hornbeam.coders import hints, urns
from hornbeam.coders.coder import Coder, CoderFunction, FastCoder, known_by
from hornbeam.coders.streams import Reader, write_int32, write_prefixed, write_varint
from hornbeam.error import DataError
from hornbeam.utils.sharded_key import ShardedKey

if TYPE_CHECKING:
    from hornbeam.coders.typecoders import CoderRegistry

#: An iterable of unknown length is written in blocks of about this many bytes.
_BLOCK_BYTES = 64 * 1024


@known_by(urns.TUPLE)
class TupleCoder(FastCoder):
    """A tuple of fixed length: each part by its own coder; all but the last are nested.

    Of two components it is the standard coder of key-value pairs.
    """

    def __init__(self, components: Iterable[Coder]) -> None:
        self._coders = tuple(components)
        for coder in self._coders:
            if not isinstance(coder, Coder):
                raise TypeError(f"TupleCoder needs an iterable of coders; found {coder!r} among them.")

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append the parts."""
        coders = self._coders
        if len(value) != len(coders):
            raise ValueError(
                f"{self!r} encodes tuples of {len(coders)} parts; found {value!r:.200} of {len(value)}."
            )
        last = len(coders) - 1
        for index, coder in enumerate(coders):
            coder.encode_to(value[index], out, nested or index < last)

    def decode_from(self, reader: Reader, nested: bool) -> tuple[Any, ...]:
        """Read the parts."""
        last = len(self._coders) - 1
        return tuple(
            [coder.decode_from(reader, nested or index < last) for index, coder in enumerate(self._coders)]
        )

    def coders(self) -> tuple[Coder, ...]:
        """The coders of the parts."""
        return self._coders

    def components(self) -> tuple[Coder, ...]:
        """The coders of the parts."""
        return self._coders

    def to_function(self) -> CoderFunction:
        """The standard pair coder's URN for two parts, else one of ours."""
        if type(self) is TupleCoder and self.is_kv_coder():
            return urns.KV, self._coders, {}, b""
        return super().to_function()

    @classmethod
    def from_function(cls, components: tuple[Coder, ...], spec: Any, payload: bytes) -> TupleCoder:
        """The coder of those parts."""
        return cls(components)

    def is_deterministic(self) -> bool:
        """Whether all parts are."""
        return all(coder.is_deterministic() for coder in self._coders)

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """This coder if all parts are deterministic, else one of deterministic parts."""
        if self.is_deterministic():
            return self
        return TupleCoder([c.as_deterministic_coder(step_label, error_message) for c in self._coders])

    def is_kv_coder(self) -> bool:
        """Whether it has two parts."""
        return len(self._coders) == 2

    def key_coder(self) -> Coder:
        """The coder of the first of two parts."""
        return self._coders[0] if self.is_kv_coder() else super().key_coder()

    def value_coder(self) -> Coder:
        """The coder of the second of two parts."""
        return self._coders[1] if self.is_kv_coder() else super().value_coder()

    def to_type_hint(self) -> Any:
        """tuple[...] of the parts' types."""
        return tuple[tuple(coder.to_type_hint() for coder in self._coders)]  # type: ignore[misc]

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: CoderRegistry) -> TupleCoder:
        """The coder of a fixed-length tuple hint."""
        return cls([registry.get_coder(part) for part in hints.parameters_of(typehint)])


@known_by(urns.KV)
class _PairCoder(TupleCoder):
    """Only reads the standard pair coder's URN from graphs; what it makes is a TupleCoder."""

    @classmethod
    def from_function(  # type: ignore[override]
        cls, components: tuple[Coder, ...], spec: Any, payload: bytes
    ) -> TupleCoder:
        """The TupleCoder of key and value."""
        if len(components) != 2:
            raise DataError(f"Coder {urns.KV!r} has 2 components; found {len(components)}.")
        return TupleCoder(components)


class ListLikeCoder(FastCoder):
    """What the coders of many elements of one kind have in common.

    Four bytes hold the count and the elements follow, nested. A count of -1 stands for an unknown one: blocks
    follow, each a varint count and so many elements, and a block of count 0 ends them.
    """

    _make: ClassVar[Any] = list

    def __init__(self, elem_coder: Coder) -> None:
        self._elem_coder = elem_coder

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append the elements."""
        encode_to = self._elem_coder.encode_to
        if isinstance(value, Sized):
            write_int32(len(value), out)
            for element in value:  # type: ignore[attr-defined]
                encode_to(element, out, True)
            return
        write_int32(-1, out)
        block, count = bytearray(), 0
        for element in value:
            encode_to(element, block, True)
            count += 1
            if len(block) > _BLOCK_BYTES:
                write_varint(count, out)
                out += block
                block, count = bytearray(), 0
        if count:
            write_varint(count, out)
            out += block
        out.append(0)

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read the elements."""
        decode_from = self._elem_coder.decode_from
        count = reader.int32()
        if count >= 0:
            return self._make([decode_from(reader, True) for _ in range(count)])
        if count != -1:
            raise DataError(f"The count of an iterable is at least -1; found {count}.")
        elements: list[Any] = []
        while block := reader.varint():
            if block < 0:
                raise DataError("An iterable's block is longer than memory: it is stored elsewhere.")
            elements.extend([decode_from(reader, True) for _ in range(block)])
        return self._make(elements)

    def components(self) -> tuple[Coder, ...]:
        """The coder of the elements."""
        return (self._elem_coder,)

    def is_deterministic(self) -> bool:
        """Whether the elements' coder is."""
        return self._elem_coder.is_deterministic()

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """This coder, with deterministic elements."""
        if self.is_deterministic():
            return self
        return type(self)(self._elem_coder.as_deterministic_coder(step_label, error_message))

    def value_coder(self) -> Coder:
        """The coder of the elements."""
        return self._elem_coder

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: CoderRegistry) -> ListLikeCoder:
        """The coder of a hint with one element type."""
        return cls(registry.get_coder(hints.first_parameter(typehint)))


@known_by(urns.ITERABLE)
class IterableCoder(ListLikeCoder):
    """Any iterable of elements of one kind; decodes to a list."""

    def to_type_hint(self) -> Any:
        """Iterable[...]"""
        return Iterable[self._elem_coder.to_type_hint()]  # type: ignore[misc]


@known_by(urns.LIST)
class ListCoder(ListLikeCoder):
    """A list of elements of one kind."""

    def to_type_hint(self) -> Any:
        """list[...]"""
        return list[self._elem_coder.to_type_hint()]  # type: ignore[misc]


@known_by(urns.TUPLE_SEQUENCE)
class TupleSequenceCoder(ListLikeCoder):
    """A tuple of any length with elements of one kind."""

    _make = tuple

    def to_type_hint(self) -> Any:
        """tuple[..., ...]"""
        return tuple[self._elem_coder.to_type_hint(), ...]  # type: ignore[misc]


@known_by(urns.MAP)
class MapCoder(FastCoder):
    """A dict: four bytes hold the count, keys and values follow in turn, nested.

    The deterministic form writes the entries in the order of their encoded keys.
    """

    def __init__(self, key_coder: Coder, value_coder: Coder, is_deterministic: bool = False) -> None:
        self._key_coder = key_coder
        self._value_coder = value_coder
        self._is_deterministic = is_deterministic

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append the entries."""
        write_int32(len(value), out)
        if self._is_deterministic:
            entries = sorted((self._key_coder.encode_nested(key), item) for key, item in value.items())
            for key, item in entries:
                out += key
                self._value_coder.encode_to(item, out, True)
            return
        for key, item in value.items():
            self._key_coder.encode_to(key, out, True)
            self._value_coder.encode_to(item, out, True)

    def decode_from(self, reader: Reader, nested: bool) -> dict[Any, Any]:
        """Read the entries."""
        read_key, read_value = self._key_coder.decode_from, self._value_coder.decode_from
        result = {}
        count = reader.int32()
        if count < 0:
            raise DataError(f"The count of a map is not negative; found {count}.")
        for _ in range(count):
            key = read_key(reader, True)
            result[key] = read_value(reader, True)
        return result

    def components(self) -> tuple[Coder, ...]:
        """The coders of keys and values."""
        return self._key_coder, self._value_coder

    def spec(self) -> dict[str, Any]:
        """Whether this is the deterministic form."""
        return {"deterministic": True} if self._is_deterministic else {}

    @classmethod
    def from_function(cls, components: tuple[Coder, ...], spec: Any, payload: bytes) -> MapCoder:
        """The coder of those keys and values."""
        key_coder, value_coder = components
        return cls(key_coder, value_coder, bool(spec.get("deterministic", False)))

    def is_deterministic(self) -> bool:
        """Whether this is the deterministic form."""
        return self._is_deterministic

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """The form with ordered entries, deterministic keys and deterministic values."""
        if self._is_deterministic:
            return self
        return MapCoder(
            self._key_coder.as_deterministic_coder(step_label, error_message),
            self._value_coder.as_deterministic_coder(step_label, error_message),
            is_deterministic=True,
        )

    def to_type_hint(self) -> Any:
        """dict[..., ...]"""
        return dict[self._key_coder.to_type_hint(), self._value_coder.to_type_hint()]  # type: ignore[misc]

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: CoderRegistry) -> MapCoder:
        """The coder of a dict hint."""
        key, value = hints.parameters_of(typehint) or (Any, Any)
        return cls(registry.get_coder(key), registry.get_coder(value))


@known_by(urns.NULLABLE)
class NullableCoder(FastCoder):
    """None as a byte 0, anything else as a byte 1 and its encoding."""

    def __init__(self, value_coder: Coder) -> None:
        self._value_coder = value_coder

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a mark and the value."""
        if value is None:
            out.append(0)
        else:
            out.append(1)
            self._value_coder.encode_to(value, out, nested)

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read a mark and the value."""
        mark = reader.byte()
        if mark == 0:
            return None
        if mark != 1:
            raise DataError(f"An optional value starts with 0 or 1; found {mark}.")
        return self._value_coder.decode_from(reader, nested)

    def components(self) -> tuple[Coder, ...]:
        """The coder of values that are not None."""
        return (self._value_coder,)

    def is_deterministic(self) -> bool:
        """Whether the values' coder is."""
        return self._value_coder.is_deterministic()

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """This coder, with deterministic values."""
        if self.is_deterministic():
            return self
        return NullableCoder(self._value_coder.as_deterministic_coder(step_label, error_message))

    def value_coder(self) -> Coder:
        """The coder of values that are not None."""
        return self._value_coder

    def to_type_hint(self) -> Any:
        """... | None"""
        return self._value_coder.to_type_hint() | None

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: CoderRegistry) -> NullableCoder:
        """The coder of an Optional hint."""
        return cls(registry.get_coder(hints.first_parameter(typehint)))


@known_by(urns.SHARDED_KEY)
class ShardedKeyCoder(FastCoder):
    """A ShardedKey: the shard id as prefixed bytes, then the key, nested."""

    def __init__(self, key_coder: Coder) -> None:
        self._key_coder = key_coder

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append shard id and key."""
        write_prefixed(value.shard_id, out)
        self._key_coder.encode_to(value.key, out, True)

    def decode_from(self, reader: Reader, nested: bool) -> ShardedKey[Any]:
        """Read shard id and key."""
        shard_id = reader.prefixed()
        return ShardedKey(self._key_coder.decode_from(reader, True), shard_id)

    def components(self) -> tuple[Coder, ...]:
        """The coder of the key."""
        return (self._key_coder,)

    def is_deterministic(self) -> bool:
        """Whether the key's coder is."""
        return self._key_coder.is_deterministic()

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """This coder, with deterministic keys."""
        if self.is_deterministic():
            return self
        return ShardedKeyCoder(self._key_coder.as_deterministic_coder(step_label, error_message))

    def key_coder(self) -> Coder:
        """The coder of the key."""
        return self._key_coder

    def to_type_hint(self) -> Any:
        """ShardedKey[...]"""
        return ShardedKey[self._key_coder.to_type_hint()]  # type: ignore[misc]

    @classmethod
    def from_type_hint(cls, typehint: Any, registry: CoderRegistry) -> ShardedKeyCoder:
        """The coder of a ShardedKey hint."""
        return cls(registry.get_coder(hints.first_parameter(typehint)))
