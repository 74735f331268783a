"""Every coder under one name, as Beam has it; each lives in the module of its kind."""

from __future__ import annotations

from hornbeam.coders.coder import Coder, DeterminismError, FastCoder, coder_from_function
from hornbeam.coders.containers import (
    IterableCoder,
    ListCoder,
    ListLikeCoder,
    MapCoder,
    NullableCoder,
    ShardedKeyCoder,
    TupleCoder,
    TupleSequenceCoder,
)
from hornbeam.coders.deterministic import DeterministicFastPrimitivesCoder
from hornbeam.coders.fast_primitives import FastPrimitivesCoder
from hornbeam.coders.pickles import CloudpickleCoder, DillCoder, PickleCoder
from hornbeam.coders.primitives import (
    BigIntegerCoder,
    BooleanCoder,
    ByteCoder,
    BytesCoder,
    DecimalCoder,
    FloatCoder,
    SinglePrecisionFloatCoder,
    SingletonCoder,
    StrUtf8Coder,
    VarIntCoder,
)
from hornbeam.coders.row_coder import RowCoder
from hornbeam.coders.typecoders import CoderRegistry, registry
from hornbeam.coders.unavailable import AvroGenericCoder, ProtoCoder, ProtoPlusCoder
from hornbeam.coders.windowed import (
    GlobalWindowCoder,
    IntervalWindowCoder,
    PaneInfoCoder,
    ParamWindowedValueCoder,
    TimestampCoder,
    WindowedValueCoder,
)

__all__ = [
    "AvroGenericCoder",
    "BigIntegerCoder",
    "BooleanCoder",
    "ByteCoder",
    "BytesCoder",
    "CloudpickleCoder",
    "Coder",
    "CoderRegistry",
    "DecimalCoder",
    "DeterminismError",
    "DeterministicFastPrimitivesCoder",
    "DillCoder",
    "FastCoder",
    "FastPrimitivesCoder",
    "FloatCoder",
    "GlobalWindowCoder",
    "IntervalWindowCoder",
    "IterableCoder",
    "ListCoder",
    "ListLikeCoder",
    "MapCoder",
    "NullableCoder",
    "PaneInfoCoder",
    "ParamWindowedValueCoder",
    "PickleCoder",
    "ProtoCoder",
    "ProtoPlusCoder",
    "RowCoder",
    "ShardedKeyCoder",
    "SinglePrecisionFloatCoder",
    "SingletonCoder",
    "StrUtf8Coder",
    "TimestampCoder",
    "TupleCoder",
    "TupleSequenceCoder",
    "VarIntCoder",
    "WindowedValueCoder",
    "coder_from_function",
    "registry",
]
