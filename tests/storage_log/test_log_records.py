"""Batches and their byte form; segments, indexes, snapshots: what is written is read, what is damaged is refused."""

from __future__ import annotations

import random

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.storage.errors import CorruptionError
from hornbeam.storage.log.compression import CODECS
from hornbeam.storage.log.errors import RecordTooLargeError
from hornbeam.storage.log.record import decode_headers, encode_headers
from hornbeam.storage.log.record_batch import HEADER_BYTES, RecordBatch, encode, read_header

blobs = st.one_of(st.none(), st.binary(max_size=40))
times = st.integers(min_value=-(2**62), max_value=2**62)
rows = st.lists(
    st.tuples(
        blobs, blobs, times, st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2)
    ),
    max_size=70,
)


def decode(data: bytes) -> RecordBatch:
    header = read_header(data, 0, "file", 0)
    return RecordBatch(header, memoryview(data)[HEADER_BYTES:], "file", 0)


@settings(max_examples=120, deadline=None)
@given(rows, st.sampled_from(sorted(CODECS)))
def test_round_trip(
    records: list[tuple[bytes | None, bytes | None, int, list[tuple[str, bytes]]]], codec: str
) -> None:
    keys, values = [r[0] for r in records], [r[1] for r in records]
    stamps, headers = [r[2] for r in records], [tuple(r[3]) for r in records]
    encoded = encode(values, keys, stamps, headers, CODECS[codec])
    data = b"".join(encoded.stamped(1000, 5, 7, 1 << 40, 3))
    assert len(data) == encoded.bytes and len(data) % 8 == 0
    batch = decode(data)
    assert batch.keys() == keys and batch.values() == values and batch.headers() == headers
    assert batch.timestamps().tolist() == stamps
    assert [(r.offset, r.timestamp_micros, r.key, r.value, r.headers) for r in batch.records()] == [
        (1000 + i, stamps[i], keys[i], values[i], headers[i]) for i in range(len(records))
    ]
    assert (batch.header.producer_id, batch.header.producer_epoch, batch.header.base_sequence) == (
        7,
        1 << 40,
        3,
    )
    if records:
        assert batch.header.max_timestamp == max(stamps)


def test_sparse_batch_keeps_offsets_and_skips() -> None:
    encoded = encode([b"a", b"b", b"c"], offset_deltas=[0, 4, 9], last_offset_delta=11)
    batch = decode(b"".join(encoded.stamped(100, 0)))
    assert batch.offsets().tolist() == [100, 104, 109] and batch.next_offset == 112
    batch.skip_to(103)
    assert [(r.offset, r.value) for r in batch.records()] == [(104, b"b"), (109, b"c")]


def test_arrow_is_a_view_of_the_bytes() -> None:
    data = b"".join(encode([b"x", None, b"zz"], [b"k", b"l", None], [1, 2, 3]).stamped(5, 0))
    batch = decode(data)
    table = batch.to_arrow()
    assert table.column("value").to_pylist() == [b"x", None, b"zz"]
    assert table.column("key").to_pylist() == [b"k", b"l", None]
    assert table.column("offset").to_pylist() == [5, 6, 7]
    start = pyarrow.py_buffer(data).address
    assert start <= table.column("value").buffers()[2].address < start + len(data)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_any_flipped_bit_is_found(codec: str) -> None:
    data = bytearray(
        b"".join(encode([b"v" * 30, b"w" * 9], [b"k", None], [1, 5], None, CODECS[codec]).stamped(9, 1))
    )
    for bit in range(len(data) * 8):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptionError):
            decode(bytes(data))
        data[bit // 8] ^= 1 << bit % 8


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match="values must be bytes or None, not str"):
        encode([b"a", "b"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="2 keys for 1 values"):
        encode([b"a"], [b"k", b"l"])


def test_headers_round_trip() -> None:
    headers = (("trace", b"\x00\x01"), ("ü", b""))
    assert decode_headers(encode_headers(headers)) == headers and encode_headers(None) == b""


def test_compression_is_left_out_where_it_does_not_pay() -> None:
    noise = random.Random(1).randbytes(400)
    assert encode([noise], codec=CODECS["zstd"]).codec == 0
    assert encode([b"a" * 400], codec=CODECS["zstd"]).codec == CODECS["zstd"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ([("n", b"")] * 65_536, "a record has 65,536 headers; 65,535 are the most"),
        ([("n" * 65_536, b"")], "the name of a record's header has 65,536 bytes; 65,535 are the most: 'nnn"),
    ],
)
def test_headers_that_the_format_cannot_hold_are_refused(headers: list[tuple[str, bytes]], said: str) -> None:
    with pytest.raises(RecordTooLargeError, match=said):
        encode_headers(headers)
    most = [("n" * 65_535, b"v"), *[("é", b"")] * 65_534]
    assert decode_headers(encode_headers(most)) == tuple(most)
