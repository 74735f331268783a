"""Kafka's own serializers of keys and values, by the names of their Java classes, which Beam's Kafka transforms take; and
deserializers.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from hornbeam.error import TransformError

__all__ = ["BYTE_ARRAY_DESERIALIZER", "BYTE_ARRAY_SERIALIZER", "deserializer_of", "serializer_of"]

_PACKAGE = "org.apache.kafka.common.serialization."
BYTE_ARRAY_SERIALIZER = _PACKAGE + "ByteArraySerializer"
BYTE_ARRAY_DESERIALIZER = _PACKAGE + "ByteArrayDeserializer"


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise TypeError("bytes or None")


def _text(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    raise TypeError("str or None")


def _uuid(value: Any) -> bytes:
    if isinstance(value, uuid.UUID):
        return str(value).encode()
    raise TypeError("uuid.UUID or None")


def _void(value: Any) -> bytes:
    raise TypeError("None")


def _packed(form: str, kind: type, what: str) -> Callable[[Any], bytes]:
    packer = struct.Struct(form)

    def pack(value: Any) -> bytes:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{what} or None")
        try:
            return packer.pack(value)
        except struct.error:
            raise TypeError(f"{what} or None") from None

    return pack


#: Big-endian, as Java writes them.
_SERIALIZERS: dict[str, Callable[[Any], bytes]] = {
    "ByteArraySerializer": _bytes,
    "ByteBufferSerializer": _bytes,
    "BytesSerializer": _bytes,
    "StringSerializer": _text,
    "UUIDSerializer": _uuid,
    "VoidSerializer": _void,
    "ShortSerializer": _packed(">h", int, "an int of 16 bits"),
    "IntegerSerializer": _packed(">i", int, "an int of 32 bits"),
    "LongSerializer": _packed(">q", int, "an int of 64 bits"),
    "FloatSerializer": _packed(">f", float, "a float of 32 bits"),
    "DoubleSerializer": _packed(">d", float, "a float"),
    "BooleanSerializer": _packed(">?", bool, "a bool"),
}


def _unpacked(form: str) -> Callable[[bytes], Any]:
    packer = struct.Struct(form)

    def unpack(data: bytes) -> Any:
        try:
            return packer.unpack(data)[0]
        except struct.error:
            raise ValueError(f"{packer.size} bytes") from None

    return unpack


def _nothing(data: bytes) -> Any:
    raise ValueError("nothing at all")


def _uuid_of(data: bytes) -> uuid.UUID:
    try:
        return uuid.UUID(data.decode())
    except ValueError:
        raise ValueError("a UUID as text") from None


def _text_of(data: bytes) -> str:
    return data.decode(errors="replace")  # as Java does


_DESERIALIZERS: dict[str, Callable[[bytes], Any]] = {
    "ByteArrayDeserializer": bytes,
    "ByteBufferDeserializer": bytes,
    "BytesDeserializer": bytes,
    "StringDeserializer": _text_of,
    "UUIDDeserializer": _uuid_of,
    "VoidDeserializer": _nothing,
    "ShortDeserializer": _unpacked(">h"),
    "IntegerDeserializer": _unpacked(">i"),
    "LongDeserializer": _unpacked(">q"),
    "FloatDeserializer": _unpacked(">f"),
    "DoubleDeserializer": _unpacked(">d"),
    "BooleanDeserializer": _unpacked(">?"),
}


def serializer_of(class_name: str, argument: str) -> Callable[[Any], bytes]:
    """The function of a Java serializer. It raises TypeError, with what it wants, for any other value; None is not given
    to it, as a record may lack a key or a value whatever the serializer. TransformError for a class that is not Kafka's."""
    name = _known(class_name, argument, _SERIALIZERS, "serializers", "give bytes, made in a step before")
    return _SERIALIZERS[name]


def deserializer_of(class_name: str, argument: str) -> Callable[[bytes], Any]:
    """The function of a Java deserializer. It raises ValueError, with what it wants, for other bytes; it is not asked about
    records without a key or a value, which give None. TransformError for a class that is not Kafka's."""
    name = _known(
        class_name, argument, _DESERIALIZERS, "deserializers", "take bytes, and decode in a step after"
    )
    return _DESERIALIZERS[name]


def _known(class_name: str, argument: str, known: Mapping[str, Any], kind: str, instead: str) -> str:
    name = class_name.removeprefix(_PACKAGE) if isinstance(class_name, str) else ""
    if name in known and class_name != name:
        return name
    transform = "WriteToKafka" if kind == "serializers" else "ReadFromKafka"
    raise TransformError(
        f"{transform} has no Java, and knows only Kafka's own {kind}: {argument} may be {_PACKAGE}NAME with NAME one of "
        f"{', '.join(sorted(known))}; found {class_name!r}. For anything else {instead}."
    )
