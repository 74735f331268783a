"""Writes the small log that later versions must be able to open: `PYTHONPATH=tests python -m storage_log.make_fixture`.

To be run once when a format is made, never again for that format.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.storage.log.offset_store import OffsetStore


def make(directory: Path) -> None:
    """A log with all that the format knows: codecs, nulls, headers, transactions, indexes, offsets."""
    with Log(directory) as log:
        log.create_topic("t", 1, segment_bytes=1500, index_interval_bytes=200)
        for codec in ("none", "lz4", "zstd"):
            with Producer(log, compression=codec) as producer:
                for i in range(6):
                    values = [b"%s-%d" % (codec.encode(), i) + b"." * 60, b"plain%d" % i]
                    times, heads = [i * 1000, i * 10**12], [[("h", b"1")], None]
                    producer.append("t", values, [b"k%d" % i, None], timestamps=times, headers=heads)
        with Producer(log, transactional_id="id") as producer:
            for i in range(4):
                producer.begin_transaction()
                producer.append("t", [b"transaction-%d" % i])
                if i % 2:
                    producer.abort_transaction()
                else:
                    producer.commit_transaction()
        OffsetStore.of(log).commit("g", {("t", 0): 7})()
        expected = [record.value or b"" for record in Consumer(log, "t").read_available()]
    for path in directory.rglob("*.lock"):
        path.unlink()
    for path in directory.rglob("*.owner"):
        path.unlink()
    directory.with_suffix(".txt").write_bytes(b"\n".join(expected))


if __name__ == "__main__":
    make(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "fixtures" / "format1"))
