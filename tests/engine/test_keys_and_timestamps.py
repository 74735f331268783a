"""When keys are the same, and timestamps as given made into columns of microseconds."""

from __future__ import annotations

import fractions
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.coders import (
    BytesCoder,
    FastPrimitivesCoder,
    FloatCoder,
    StrUtf8Coder,
    TupleCoder,
    VarIntCoder,
)
from hornbeam.runners.engine.keys import EncodedKey, KeyEncoder, canonical_key, user_key
from hornbeam.runners.engine.outputs import micros_column
from hornbeam.runners.engine.sizes import mean_size, size_of
from hornbeam.runners.multiprocess.partition import stable_hash
from hornbeam.utils.timestamp import Timestamp, micros_of

encode = FastPrimitivesCoder().as_deterministic_coder("keys").encode

SIMPLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=3)
)
KEYS = st.recursive(SIMPLE, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)
FEW = st.sampled_from([0, 0.0, -0.0, False, 1, 1.0, True, "", b"", None, (), (1,), (1.0,), (True,), (None,)])


@given(KEYS | FEW, KEYS | FEW)
@settings(max_examples=300, deadline=None)
def test_keys_are_the_same_when_their_encodings_are(a, b):
    same = encode(a) == encode(b)
    assert (canonical_key(a, encode) == canonical_key(b, encode)) == same
    if same:
        assert hash(canonical_key(a, encode)) == hash(canonical_key(b, encode))


@given(KEYS)
@settings(max_examples=100, deadline=None)
def test_the_user_gets_his_key_back(key):
    assert user_key(canonical_key(key, encode)) is key


WHOLE = st.one_of(st.integers(-2, 2), st.booleans(), st.integers(-2, 2).map(np.int64))
TEXT = st.sampled_from(["", "a", "é"]).flatmap(lambda text: st.sampled_from([text, np.str_(text)]))
BYTES = st.sampled_from([b"", b"a"]).flatmap(
    lambda data: st.sampled_from([data, bytearray(data), np.bytes_(data)])
)
TYPED = st.sampled_from(
    [
        (VarIntCoder(), WHOLE),
        (StrUtf8Coder(), TEXT),
        (BytesCoder(), BYTES),
        (TupleCoder([StrUtf8Coder(), VarIntCoder()]), st.tuples(TEXT, WHOLE)),
        (TupleCoder([VarIntCoder(), FloatCoder()]), st.tuples(WHOLE, st.sampled_from([1.0, -0.0, 0.0]))),
        (FastPrimitivesCoder(), st.one_of(WHOLE, TEXT)),
    ]
)


@given(TYPED.flatmap(lambda typed: st.tuples(st.just(typed[0]), typed[1], typed[1])))
@settings(max_examples=200, deadline=None)
def test_keys_of_any_coder_are_the_same_when_their_encodings_are(typed):
    """Also where one is of the type that the coder makes and one is not, and wherever they are dealt out to."""
    coder, a, b = typed
    encoder = KeyEncoder(lambda: coder.as_deterministic_coder("keys"))
    same = encoder(a) == encoder(b)
    assert (canonical_key(a, encoder) == canonical_key(b, encoder)) == same
    if same:
        assert stable_hash(a, encoder) == stable_hash(b, encoder)
        assert user_key(canonical_key(a, encoder)) == a


def test_nan_equals_itself_as_a_key():
    assert canonical_key(math.nan, encode) == canonical_key(float("nan"), encode)
    assert isinstance(canonical_key(math.nan, encode), EncodedKey)


SECONDS_INT = st.integers(-(10**11), 10**11)
SECONDS_FLOAT = st.floats(-1e10, 1e10, allow_nan=False)
STAMPS = st.one_of(
    SECONDS_INT, SECONDS_FLOAT, st.integers(-(10**17), 10**17).map(lambda m: Timestamp(micros=m))
)


@given(
    st.one_of(
        st.lists(SECONDS_INT, min_size=1),
        st.lists(SECONDS_FLOAT, min_size=1),
        st.lists(STAMPS, min_size=1),
    )
)
@settings(max_examples=200, deadline=None)
def test_a_column_of_timestamps_is_what_each_would_be(stamps):
    assert micros_column(stamps).tolist() == [micros_of(stamp) for stamp in stamps]


@pytest.mark.parametrize(
    "stamps", [["1"], [None], [1, object()], [math.nan], [math.inf], [fractions.Fraction(1, 2), "x"]]
)
def test_what_is_no_time_is_refused_as_for_one(stamps):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        micros_column(stamps)


@pytest.mark.parametrize("stamps", [[np.int64(5)], [np.float64(1.5), 2], [True, 2]])
def test_numbers_of_numpy_and_bools_are_seconds(stamps):
    assert micros_column(stamps).tolist() == [micros_of(stamp) for stamp in stamps]


def test_sizes_follow_what_is_held():
    assert size_of("x" * 10_000) > 10_000
    assert size_of(["x" * 1000] * 100) > 50_000
    assert size_of(dict.fromkeys(range(50), "x" * 1000)) > 25_000
    assert mean_size([]) == 1
    assert mean_size(["x" * 1000, "y" * 1000]) > 1000


def test_sizes_of_circles_and_of_objects_are_found():
    circle: list[object] = []
    circle.append(circle)
    assert 0 < size_of(circle) < 10_000

    class Holds:
        def __init__(self):
            self.text = "x" * 10_000

    assert size_of(Holds()) > 10_000
