"""Makes the store that is kept as this format version's fixture. Run once per version; never again for an old one.

python tests/storage_checkpoint/make_fixture.py tests/storage_checkpoint/fixtures/v1
"""

from __future__ import annotations

import sys

from hornbeam.storage.checkpoint import CheckpointStore, StoreOptions

RETAIN = 3


def main(directory: str) -> None:
    """Three checkpoints, a savepoint, all codecs, tombstones, a merged file."""
    for number, codec in enumerate(["none", "lz4", "zstd", "none"], 1):
        options = StoreOptions(retain=RETAIN, codec=codec, block_bytes=300)
        with CheckpointStore(directory, options, key_groups=16) as store:
            pending = store.begin()
            writer = pending.writer("w")
            for i in range(40):
                key = b"key-%d" % i
                if i % 5 == number - 2:
                    writer.delete("count", i % 16, key, b"")
                else:
                    writer.put("count", i % 16, key, b"", b"%d" % number * 10)
            writer.put("bag \N{GREEK SMALL LETTER ALPHA}", number, b"", b"window\xff", bytes(range(256)))
            pending.commit(writer.finish(), {"number": number, "text": "\N{SNOWMAN}"})
            if number == 2:
                store.savepoint("early")
            if number == 3:
                store.compact(full=True)


if __name__ == "__main__":
    main(sys.argv[1])
