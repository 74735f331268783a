"""Stores written by earlier versions of the format load for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hornbeam.storage.checkpoint import CheckpointStore, Snapshot, StoreReader, verify
from hornbeam.storage.checkpoint.block import HEADER_BYTES, read_header
from hornbeam.storage.checkpoint.state_file import FOOTER, HEADER

FIXTURES = Path(__file__).parent / "fixtures"


def check(snapshot: Snapshot, number: int) -> None:
    """What `make_fixture.py` put into checkpoint `number`."""
    assert snapshot.metadata == {"number": number, "text": "\N{SNOWMAN}"}
    assert {key.key: value for key, value in snapshot.scan(state="count")} == {
        b"key-%d" % i: b"%d" % number * 10 for i in range(40) if i % 5 != number - 2
    }
    bags = [(key, value) for key, value in snapshot.scan(state="bag \N{GREEK SMALL LETTER ALPHA}")]
    assert [(key.key_group, key.key, key.window) for key, _ in bags] == [
        (group, b"", b"window\xff") for group in range(1, number + 1)
    ]
    assert all(value == bytes(range(256)) for _, value in bags)


@pytest.mark.parametrize("version", ["v1"])
def test_a_store_of_every_version_can_be_read(version: str) -> None:
    directory = FIXTURES / version
    assert verify(str(directory)).sound
    reader = StoreReader(directory)
    assert [m.checkpoint for m in reader.checkpoints()] == [2, 3, 4]
    for which, number in ((None, 4), (2, 2), (3, 3), (4, 4), ("early", 2)):
        with reader.snapshot(which) as snapshot:
            check(snapshot, number)


@pytest.mark.parametrize("version", ["v1"])
def test_a_store_of_every_version_can_be_gone_on_with(version: str, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / version, tmp_path / "store")
    with CheckpointStore(tmp_path / "store") as store:
        assert store.key_groups == 16
        pending = store.begin()
        writer = pending.writer("w")
        writer.put("new", 3, b"k", b"", b"v")
        assert pending.commit(writer.finish(), {"number": 4, "text": "\N{SNOWMAN}"}).checkpoint == 5
        assert store.compact(full=True)
        with store.snapshot() as snapshot:
            check(snapshot, 4)
            assert snapshot.get("new", 3, b"k") == b"v"


def test_the_fixture_has_blocks_of_every_codec() -> None:
    codecs = set()
    for path in (FIXTURES / "v1" / "state").iterdir():
        data, offset = path.read_bytes(), HEADER.size
        blocks_end = FOOTER.unpack(data[-FOOTER.size :])[0]
        while offset < blocks_end:
            header = read_header(data[offset : offset + HEADER_BYTES], str(path), offset)
            codecs.add(header.codec)
            offset += HEADER_BYTES + header.stored
    assert codecs == {0, 1, 2}
