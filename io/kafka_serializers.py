"""Kafka's own serializers of keys and values, by the names of their Java classes, which Beam's Kafka transforms take."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from typing import Any

from hornbeam.error import TransformError

__all__ = ["BYTE_ARRAY_SERIALIZER", "serializer_of"]

_PACKAGE = "org.apache.kafka.common.serialization."
BYTE_ARRAY_SERIALIZER = _PACKAGE + "ByteArraySerializer"


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


def serializer_of(class_name: str, argument: str) -> Callable[[Any], bytes]:
    """The function of a Java serializer. It raises TypeError, with what it wants, for any other value; None is not given
    to it, as a record may lack a key or a value whatever the serializer. TransformError for a class that is not Kafka's."""
    name = class_name.removeprefix(_PACKAGE) if isinstance(class_name, str) else None
    if name in _SERIALIZERS and class_name != name:
        return _SERIALIZERS[name]
    raise TransformError(
        f"WriteToKafka has no Java, and knows only Kafka's own serializers: {argument} may be {_PACKAGE}NAME with NAME "
        f"one of {', '.join(sorted(_SERIALIZERS))}; found {class_name!r}. For anything else "
        "give bytes, made in a step before."
    )
