"""Figures of the checkpoint store, each beside the raw limit measured in the same run.

    python -m tests.bench.checkpoint_bench [--entries 1000000] [--directory DIR]

Writing is held against write + fsync of the same bytes, reading against a map and a CRC over them.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable

from hornbeam.storage.checkpoint import CheckpointStore, StoreOptions, encode_key, key_prefix, verify
from hornbeam.storage.files import OS_FILES

KEY_GROUPS = 128


def timed(act: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def encoded_keys(n: int) -> list[bytes]:
    """Byte forms of n keys, as a state backend makes them: with the prefix cached."""
    prefixes = [key_prefix("count", group) + (12).to_bytes(4, "big") for group in range(KEY_GROUPS)]
    return [prefixes[i % KEY_GROUPS] + b"user%08d" % i for i in range(n)]


def raw_write(directory: str, size: int) -> float:
    """Seconds to write and sync as many bytes."""
    data = os.urandom(1 << 20)

    def write() -> None:
        with OS_FILES.create(os.path.join(directory, "raw")) as handle:
            for _ in range(max(1, size >> 20)):
                handle.write(data)
            handle.sync()

    seconds = timed(write)
    os.unlink(os.path.join(directory, "raw"))
    return seconds


def raw_read(path: str) -> float:
    """Seconds to map a file and compute a CRC over it in blocks of 32 kB."""

    def read() -> None:
        view = OS_FILES.map_read(path)
        for start in range(0, len(view), 32768):
            zlib.crc32(view[start : start + 32768])

    return timed(read)


def report(what: str, figure: str, ratio: str = "") -> None:
    """One line."""
    print(f"{what:<58}{figure:>18}  {ratio}")


def rate(n: int, seconds: float) -> str:
    """Millions a second."""
    return f"{n / seconds / 1e6:.2f} M/s"


def full_checkpoint(store: CheckpointStore, changes: dict[bytes, bytes | None]) -> float:
    """Seconds from having the state in a dict to a committed checkpoint."""

    def act() -> None:
        pending = store.begin(incremental=False)
        writer = pending.writer("w")
        writer.update(changes)
        pending.commit(writer.finish())

    return timed(act)


def increments(store: CheckpointStore, keys: list[bytes], changed: int, rounds: int) -> list[float]:
    """Seconds of each of some commits of `changed` entries."""
    rng = random.Random(0)
    seconds = []
    for number in range(rounds):
        changes: dict[bytes, bytes | None] = dict.fromkeys(rng.sample(keys, changed), b"%08d" % number)

        def act(changes: dict[bytes, bytes | None] = changes) -> None:
            pending = store.begin()
            writer = pending.writer("w")
            writer.update(changes)
            pending.commit(writer.finish())

        seconds.append(timed(act))
    return seconds


def percentiles(seconds: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    ordered = sorted(seconds)
    return f"p50 {statistics.median(ordered) * 1e3:.1f} p99 {ordered[int(len(ordered) * 0.99)] * 1e3:.1f} ms"


def measure_merging(directory: str, keys: list[bytes], state: dict[bytes, bytes | None]) -> None:
    """Increments while the store merges in the background."""
    with CheckpointStore(directory, key_groups=KEY_GROUPS) as store:
        full_checkpoint(store, state)
        changed = min(10_000, len(keys))
        seconds_each = increments(store, keys, changed, 60)
        assert store.head is not None and store.merge_error is None
        report(f"increment of {changed} entries, merges in the background", percentiles(seconds_each))
        report("  runs after 60 of them", str(len({file.run for file in store.head.files})))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--directory", help="where to write; by default the temporary directory")
    args = parser.parse_args()
    n = args.entries
    keys = encoded_keys(n)
    state: dict[bytes, bytes | None] = dict.fromkeys(keys, b"00000000")
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        options = StoreOptions(file_bytes_max=1 << 30, merge="caller")
        with CheckpointStore(os.path.join(directory, "store"), options, key_groups=KEY_GROUPS) as store:
            measure_store(store, directory, keys, state)
        measure_merging(os.path.join(directory, "merging"), keys, state)
        report("open", f"{timed(lambda: CheckpointStore(store.layout.directory).close()) * 1e3:.1f} ms")
        seconds = timed(lambda: verify(store.layout.directory))
        report("verify every byte", rate(n, seconds))


def measure_store(
    store: CheckpointStore, directory: str, keys: list[bytes], state: dict[bytes, bytes | None]
) -> None:
    """Everything that needs the store open."""
    n = len(keys)
    seconds = full_checkpoint(store, state)
    assert store.head is not None
    file = store.head.files[0]
    raw = raw_write(directory, store.head.size)
    bytes_s = store.head.size / seconds / 1e6
    report(
        f"full checkpoint, {n} entries, {file.size / 1e6:.0f} MB",
        rate(n, seconds),
        f"{raw / seconds:.2f} of raw",
    )
    report("  in bytes", f"{bytes_s:.0f} MB/s")

    path = store.layout.state_path(file.name)
    raw = raw_read(path)

    def restore_chunks() -> None:
        with store.snapshot() as snapshot:
            assert sum(len(chunk.keys) for chunk in snapshot.scan_chunks()) == n

    def restore_entries() -> None:
        with store.snapshot() as snapshot:
            for _ in snapshot.scan():
                pass

    seconds = timed(restore_chunks)
    report("restore, columns", rate(n, seconds), f"{raw / seconds:.2f} of raw")
    report("restore, one entry at a time", rate(n, timed(restore_entries)))
    rng = random.Random(1)
    wanted = rng.sample(keys, min(5000, n))
    with store.snapshot() as snapshot:
        seconds = timed(lambda: [snapshot.get_encoded(key) for key in wanted])
    report("point lookup, cold", f"{seconds / len(wanted) * 1e6:.0f} us")

    for changed in (100, 10_000):
        seconds_each = increments(store, keys, min(changed, n), 100 if changed < 1000 else 40)
        report(f"increment of {changed} entries: write, sync, commit", percentiles(seconds_each))
    commits = increments(store, keys, 0, 100)
    report("empty commit (two directory syncs and a manifest)", percentiles(commits))

    entries = sum(file.entries for file in store.head.files)
    files = len(store.head.files)
    with store.snapshot() as snapshot:
        seconds = timed(lambda: sum(len(chunk.keys) for chunk in snapshot.scan_chunks()))
    report(f"restore from {files} files", rate(n, seconds))
    seconds = timed(lambda: store.compact(full=True))
    report(f"merge of {files} files, {entries} entries", rate(entries, seconds))
    one = encode_key("count", 0, b"user00000000")
    with store.snapshot() as snapshot:
        assert snapshot.get_encoded(one) is not None


if __name__ == "__main__":
    main()
