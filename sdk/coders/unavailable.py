"""Coders that Beam has and hornbeam has not yet: making one is an error that says what to use instead."""

from __future__ import annotations

from typing import Any

from hornbeam.coders.coder import FastCoder
from hornbeam.error import PipelineError


class UnavailableCoderError(PipelineError, NotImplementedError):
    """A coder that this version of hornbeam does not have."""


class AvroGenericCoder(FastCoder):
    """Avro records of a schema: not in this version."""

    def __init__(self, schema: Any) -> None:
        raise UnavailableCoderError(
            "AvroGenericCoder is not in this version of hornbeam. Register a coder of your own for the "
            "record's type, or keep the records as dicts, which FastPrimitivesCoder takes."
        )


class ProtoCoder(FastCoder):
    """Protocol buffer messages of a type: not in this version."""

    def __init__(self, proto_message_type: Any) -> None:
        raise UnavailableCoderError(
            "ProtoCoder is not in this version of hornbeam. Register a coder whose encode is "
            "message.SerializeToString(deterministic=True) and whose decode is MessageType.FromString."
        )


class ProtoPlusCoder(FastCoder):
    """proto-plus messages of a type: not in this version."""

    def __init__(self, proto_plus_message_type: Any) -> None:
        raise UnavailableCoderError(
            "ProtoPlusCoder is not in this version of hornbeam. Register a coder whose encode is "
            "MessageType.serialize and whose decode is MessageType.deserialize."
        )
