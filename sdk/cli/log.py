"""`hornbeam log COMMAND DIR ...`: looking into a partitioned log, and writing to and reading from it by hand."""

from __future__ import annotations

import argparse
import datetime
import gzip
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import Consumer, InvalidSettingError, Log, LogError, Producer, Record, TopicSettings
from hornbeam.storage.log.compaction import CompactionResult
from hornbeam.storage.log.group import describe_group, list_groups
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.producer import ACKS
from hornbeam.storage.log.segment import list_segments, read_batch, scan_headers, segment_path
from hornbeam.storage.log.verify import verify

_LINES_AT_ONCE = 5000
_NO_STOP = 1 << 62


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser("log", help="a partitioned log: topics, records, groups, checks")
    commands = parser.add_subparsers(dest="log_command", required=True, metavar="COMMAND")

    def command(name: str, help: str, json_too: bool = True) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.add_argument("directory", help="the log's directory")
        if json_too:
            added.add_argument("--json", action="store_true", help="JSON instead of a table")
        return added

    topics = command("topics", "all topics with their sizes")
    topics.add_argument("--internal", action="store_true", help="the log's own topics too")

    create = command("create", "make a topic", json_too=False)
    create.add_argument("topic")
    create.add_argument("--partitions", type=int, default=1, metavar="N")
    create.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting, such as retention_ms=86400000, cleanup=compact, compression=zstd",
    )  # fmt: skip

    describe = command("describe", "settings and partitions of a topic")
    describe.add_argument("topic")

    produce = command("produce", "write lines of a file or of the input as records", json_too=False)
    produce.add_argument("topic")
    produce.add_argument(
        "--file", default="-", metavar="FILE", help="lines to write (.gz too); the standard input"
    )
    produce.add_argument(
        "--skip", type=int, default=0, metavar="N", help="leave out the first N lines (a heading)"
    )
    produce.add_argument(
        "--key-field", type=int, metavar="N", help="the key is the N-th field of the line, from 1"
    )
    produce.add_argument("--delimiter", default=",", help="between fields; a comma")
    produce.add_argument("--partition", type=int, metavar="P", help="write to this partition only")
    produce.add_argument("--acks", choices=ACKS, default="fsync", help="what to wait for; fsync")
    produce.add_argument("--compression", choices=["none", "lz4", "zstd"], help="instead of the topic's")

    consume = command("consume", "print records")
    consume.add_argument("topics", nargs="+", metavar="TOPIC")
    consume.add_argument("-f", "--follow", action="store_true", help="wait for more, as tail -f does")
    consume.add_argument(
        "--group", metavar="G", help="share the partitions with the group's members, keep offsets"
    )
    consume.add_argument("--partition", type=int, metavar="P", help="this partition only (without a group)")
    consume.add_argument(
        "--from", dest="start", default="beginning", metavar="WHERE",
        help="beginning, end, an offset, or a time such as 2024-05-01T12:00; without a committed offset",
    )  # fmt: skip
    consume.add_argument("-n", "--max", type=int, metavar="N", help="stop after N records")
    consume.add_argument(
        "--uncommitted", action="store_true", help="records of open and void transactions too"
    )
    consume.add_argument("-q", "--quiet", action="store_true", help="count records, print none")

    groups = command("groups", "consumer groups with members and lag")
    groups.add_argument("group", nargs="?")

    offsets = command("offsets", "committed offsets of a group")
    offsets.add_argument("group")
    offsets.add_argument(
        "--reset", choices=["beginning", "end", "forget"], help="change them (no member may run)"
    )
    offsets.add_argument("--topic", help="only this topic's")

    compact = command("compact", "remove outdated records of a compacted topic, expired ones of any other")
    compact.add_argument("topic")

    check = command("verify", "read every byte and check it")
    check.add_argument("topics", nargs="*", metavar="TOPIC")
    check.add_argument(
        "--repair", action="store_true", help="mend what can be mended (nobody may use the log)"
    )

    dump = command("dump", "the batches of a partition as they lie in the files")
    dump.add_argument("topic")
    dump.add_argument("partition", type=int)
    dump.add_argument("--records", action="store_true", help="the records of each batch too")
    dump.add_argument(
        "--offset", type=int, default=0, metavar="N", help="from the batch that holds this offset"
    )
    dump.add_argument("-n", "--max", type=int, metavar="N", help="at most N batches")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed command; the exit status: 1 for damage found, 2 for a command that could not run."""
    try:
        return int(_COMMANDS[args.log_command](args))
    except (LogError, StorageError, ValueError) as error:
        print(f"hornbeam log: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _topics(args: argparse.Namespace) -> int:
    with _open(args) as log:
        rows = []
        for name in log.topics(args.internal):
            topic = log.topic(name)
            parts = topic.partitions()
            rows.append(
                {
                    "topic": name,
                    "partitions": topic.partition_count,
                    "records": sum(p.end_offset - p.log_start_offset for p in parts),
                    "bytes": sum(_bytes(p) for p in parts),
                    "cleanup": topic.settings.cleanup,
                }
            )
    _print(args, rows, "no topics")
    return 0


def _create(args: argparse.Namespace) -> int:
    with Log(args.directory) as log:
        topic = log.create_topic(args.topic, args.partitions, **_settings(args.settings))
        print(f"made {topic.name} with {topic.partition_count} partition(s)")
    return 0


def _describe(args: argparse.Namespace) -> int:
    with _open(args) as log:
        topic = log.topic(args.topic)
        rows = [
            {
                "partition": p.number,
                "start": p.log_start_offset,
                "stable": p.last_stable_offset,
                "end": p.end_offset,
                "on disk": p.flushed_offset,
                "segments": len(list_segments(log.files, p.directory)),
                "bytes": _bytes(p),
            }
            for p in topic.partitions()
        ]
        settings = topic.settings.to_json()
    if args.json:
        print(json.dumps({"topic": args.topic, "settings": settings, "partitions": rows}))
        return 0
    print(f"{args.topic}: " + ", ".join(f"{k}={v}" for k, v in settings.items() if v is not None))
    _print(args, rows, "no partitions")
    return 0


def _produce(args: argparse.Namespace) -> int:
    began, count = time.monotonic(), 0
    with _open(args) as log, Producer(log, acks=args.acks, compression=args.compression) as producer:
        log.topic(args.topic)
        for lines in _chunks(_lines(args.file, args.skip)):
            producer.append(args.topic, lines, _keys(args, lines), partition=args.partition)
            count += len(lines)
    seconds = time.monotonic() - began
    print(f"wrote {count:,} records in {seconds:.2f} s", file=sys.stderr)
    return 0


def _consume(args: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with _open(args) as log:
        grouped = args.group is not None
        consumer = Consumer(
            log,
            args.topics if grouped or args.partition is None else (),
            group=args.group,
            isolation="read_uncommitted" if args.uncommitted else "read_committed",
            auto_offset_reset="latest" if args.start == "end" else "earliest",
            auto_commit_ms=1000 if grouped else None,
            on_assign=lambda places: _say("assigned", places) if grouped else None,
            on_revoke=lambda places: _say("taken away", places) if grouped else None,
        )
        with consumer:
            if not grouped:
                if args.partition is not None:
                    consumer.assign([(topic, args.partition) for topic in args.topics])
                _go_to(consumer, args.start)
            count = 0
            try:
                count = _print_records(consumer, args)
            except KeyboardInterrupt:
                pass
        if args.quiet:
            print(count)
    return 0


def _print_records(consumer: Consumer, args: argparse.Namespace) -> int:
    count = 0
    while args.max is None or count < args.max:
        wait_s = 3600.0 if args.follow else 0.3 if args.group else 0.0
        limit = 500 if args.max is None else min(500, args.max - count)
        records = consumer.poll(wait_s, limit)
        if not records and not args.follow:
            break
        count += len(records)
        if not args.quiet:
            for record in records:
                sys.stdout.write(_text(record, args.json) + "\n")
            sys.stdout.flush()
    return count


def _groups(args: argparse.Namespace) -> int:
    with _open(args) as log:
        store = OffsetStore.of(log)
        names = sorted({*list_groups(log), *store.groups()}) if args.group is None else [args.group]
        rows: list[dict[str, Any]] = []
        for name in names:
            state = describe_group(log, name)
            lags = {(row["topic"], row["partition"]): row["lag"] for row in _offset_rows(log, name, None)}
            for member in state["members"] or [None]:
                held = member["partitions"] if member else []
                rows.append(
                    {
                        "group": name,
                        "generation": state["generation"],
                        "member": member["member"] if member else "(none)",
                        "client": member["client"] if member else "",
                        "alive": member["alive"] if member else "",
                        "partitions": " ".join(f"{topic}-{number}" for topic, number in held),
                        "lag": sum(lags.get(tuple(p), 0) for p in held) if member else sum(lags.values()),
                    }
                )
    _print(args, rows, "no groups")
    return 0


def _offsets(args: argparse.Namespace) -> int:
    with _open(args) as log:
        if args.reset is not None:
            _reset(log, args)
        rows = _offset_rows(log, args.group, args.topic)
    _print(args, rows, f"group {args.group!r} has no offsets")
    return 0


def _reset(log: Log, args: argparse.Namespace) -> None:
    alive = [member for member in describe_group(log, args.group)["members"] if member["alive"]]
    if alive:
        raise InvalidSettingError(f"group {args.group!r} has running members; stop them first")
    store = OffsetStore.of(log)
    if args.reset == "forget":
        store.forget(args.group)
        return
    places = [place for place in store.committed(args.group) if args.topic in (None, place[0])]
    if args.topic is not None:
        places = [(args.topic, p.number) for p in log.topic(args.topic).partitions()]
    chosen = {}
    for place in places:
        partition = log.partition(*place)
        chosen[place] = partition.log_start_offset if args.reset == "beginning" else partition.end_offset
    if chosen:
        store.commit(args.group, chosen)()


def _compact(args: argparse.Namespace) -> int:
    with _open(args) as log:
        settings = log.topic(args.topic).settings
        results = log.compact(args.topic) if settings.compacted else []
        dropped = log.apply_retention(args.topic) if settings.deletes else 0
    total = [sum(column) for column in zip(*(_figures(result) for result in results))] or [0] * 6
    names = [
        "records_before",
        "records_after",
        "bytes_before",
        "bytes_after",
        "segments_before",
        "segments_after",
    ]
    if args.json:
        print(json.dumps(dict(zip(names, total)) | {"segments_dropped": dropped}))
    elif settings.compacted:
        print(f"{total[0]:,} records became {total[1]:,}; {_size(total[2])} became {_size(total[3])}; "
              f"{total[4]} segments became {total[5]}")  # fmt: skip
    if settings.deletes and not args.json:
        print(f"{dropped} segment(s) dropped by retention")
    return 0


def _verify(args: argparse.Namespace) -> int:
    report = verify(args.directory, args.topics or None, args.repair)
    if args.json:
        findings = [
            {"path": f.path, "byte": f.position, "reason": f.reason, "repaired": f.repaired,
             "can_repair": f.can_repair, "lost_from": f.lost_from, "lost_to": f.lost_to}
            for f in report.findings
        ]  # fmt: skip
        print(json.dumps({"sound": report.sound, "batches": report.batches, "records": report.records,
                          "bytes": report.bytes, "findings": findings}))  # fmt: skip
    else:
        for finding in report.findings:
            print(finding)
        print(
            f"{report.topics} topics, {report.partitions} partitions, {report.segments} segments, "
            f"{report.batches:,} batches, {report.records:,} records, {_size(report.bytes)}: "
            + ("sound" if not report.findings else f"{len(report.findings)} finding(s)")
        )
    return 0 if report.sound else 1


def _dump(args: argparse.Namespace) -> int:
    with _open(args) as log:
        partition = log.partition(args.topic, args.partition)
        partition.ensure_open()
        rows = itertools.islice(_batches(partition, args), args.max)
        if args.json:
            for row in rows:
                print(json.dumps(row))
        else:
            for row in rows:
                records = row.pop("records_of", [])
                print(" ".join(f"{name}={value}" for name, value in row.items() if value not in ("", None)))
                for record in records:
                    print(f"    {record}")
    return 0


def _batches(partition: Partition, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    files = partition.files
    bases = list_segments(files, partition.directory)
    for base, following in zip(bases, [*bases[1:], _NO_STOP]):
        with files.open_read(segment_path(partition.directory, base)) as handle:
            for position, header in scan_headers(handle, 64, base, min(following, partition.end_offset)):
                if header.next_offset <= args.offset:
                    continue
                flags = "control" if header.is_control else "transactional" if header.is_transactional else ""
                row: dict[str, Any] = {
                    "segment": base, "byte": position, "offset": header.base_offset, "last": header.last_offset,
                    "records": header.record_count, "bytes": header.bytes, "kind": flags,
                    "codec": ["none", "lz4", "zstd"][header.codec],
                    "time": _time(header.base_timestamp), "producer": header.producer_id,
                    "epoch": header.producer_epoch, "sequence": header.base_sequence,
                }  # fmt: skip
                if args.records:
                    batch = read_batch(handle, position)
                    batch.topic, batch.partition = partition.topic, partition.number
                    row["records_of"] = [_text(record, True) for record in batch.records()]
                yield row


def _open(args: argparse.Namespace) -> Log:
    if not os.path.exists(os.path.join(args.directory, "format.json")):
        raise LogError(
            f"{args.directory} is not a log; `hornbeam log create {args.directory} TOPIC` makes one"
        )
    return Log(args.directory)


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign:
            raise InvalidSettingError(f"--set {pair}: write NAME=VALUE")
        found[name] = None if value == "none" and name not in ("compression",) else value
        if value.lstrip("-").isdigit():
            found[name] = int(value)
    TopicSettings().with_changes(found)
    return found


def _lines(path: str, skip: int) -> Iterator[bytes]:
    source: BinaryIO | gzip.GzipFile
    if path == "-":
        source = sys.stdin.buffer
    else:
        source = gzip.open(path) if path.endswith(".gz") else open(path, "rb")
    with source:
        for line in itertools.islice(source, skip, None):
            yield line.rstrip(b"\r\n")


def _chunks(lines: Iterable[bytes]) -> Iterator[list[bytes | None]]:
    iterator = iter(lines)
    size = 1 if sys.stdin.isatty() else _LINES_AT_ONCE
    while chunk := list(itertools.islice(iterator, size)):
        yield list(chunk)


def _keys(args: argparse.Namespace, lines: Sequence[bytes | None]) -> list[bytes | None] | None:
    if args.key_field is None:
        return None
    delimiter, index = args.delimiter.encode(), args.key_field - 1
    keys: list[bytes | None] = []
    for line in lines:
        fields = (line or b"").split(delimiter)
        if not 0 <= index < len(fields):
            raise InvalidSettingError(
                f"a line has {len(fields)} fields, no field {args.key_field}: {line!r:.80}"
            )
        keys.append(fields[index])
    return keys


def _go_to(consumer: Consumer, start: str) -> None:
    if start.isdigit():
        for topic, number in consumer.assignment():
            consumer.seek(topic, number, int(start))
    elif start not in ("beginning", "end"):
        try:
            when = datetime.datetime.fromisoformat(start)
        except ValueError:
            raise InvalidSettingError(f"--from {start}: beginning, end, an offset or a time") from None
        if when.tzinfo is None:
            when = when.replace(tzinfo=datetime.UTC)
        consumer.seek_to_time(int(when.timestamp() * 1e6))


def _offset_rows(log: Log, group: str, topic: str | None) -> list[dict[str, Any]]:
    """Committed offsets; of the topics that the group reads, also the partitions it has committed nothing of yet."""
    members = describe_group(log, group)["members"]
    held = {tuple(place): member["member"] for member in members for place in member["partitions"]}
    committed = OffsetStore.of(log).committed(group, timeout_s=1.0, or_older=True)
    topics = {name for member in members for name in member["topics"]} | {name for name, _ in committed}
    places = {*committed, *((p.topic, p.number) for name in topics for p in _partitions(log, name))}
    rows = []
    for place in sorted(places):
        if topic not in (None, place[0]):
            continue
        found = committed.get(place)
        try:
            end: int | None = log.partition(*place).last_stable_offset
            start = log.partition(*place).log_start_offset if found is None else found.offset
        except LogError:
            end = None
        rows.append(
            {
                "topic": place[0],
                "partition": place[1],
                "committed": None if found is None else found.offset,
                "end": end,
                "lag": 0 if end is None else max(end - start, 0),
                "at": "" if found is None else _time(found.committed_micros),
                "member": held.get(place, ""),
            }
        )
    return rows


def _partitions(log: Log, topic: str) -> list[Partition]:
    try:
        return log.topic(topic).partitions()
    except LogError:
        return []  # deleted since


def _say(what: str, places: Sequence[tuple[str, int]]) -> None:
    print(f"{what}: {' '.join(f'{topic}-{number}' for topic, number in places)}", file=sys.stderr, flush=True)


def _text(record: Record, as_json: bool) -> str:
    value = None if record.value is None else record.value.decode(errors="backslashreplace")
    if not as_json:
        return "(null)" if value is None else value
    fields = record._asdict() | {
        "value": value,
        "key": None if record.key is None else record.key.decode(errors="backslashreplace"),
        "headers": {name: data.decode(errors="backslashreplace") for name, data in record.headers},
    }
    return json.dumps(fields)


def _time(micros: int) -> str:
    try:
        when = datetime.datetime.fromtimestamp(micros / 1e6, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{micros} us"
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bytes(partition: Partition) -> int:
    files = partition.files
    bases = list_segments(files, partition.directory)
    return sum(files.size(segment_path(partition.directory, base)) for base in bases)


def _figures(result: CompactionResult) -> list[int]:
    return [result.records_before, result.records_after, result.bytes_before, result.bytes_after,
            result.segments_before, result.segments_after]  # fmt: skip


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def _print(args: argparse.Namespace, rows: list[dict[str, Any]], nothing: str) -> None:
    if args.json:
        print(json.dumps(rows))
        return
    if not rows:
        print(nothing)
        return
    cells = [[_cell(name, row[name]) for name in rows[0]] for row in rows]
    names = list(rows[0])
    widths = [max(map(len, column)) for column in zip(names, *cells)]
    numeric = [all(isinstance(row[name], int | None) for row in rows) for name in names]
    for line in [names, *cells]:
        parts = [c.rjust(w) if right else c.ljust(w) for c, w, right in zip(line, widths, numeric)]
        print("  ".join(parts).rstrip())


def _cell(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "bytes" and isinstance(value, int):
        return _size(value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


_COMMANDS = {
    "topics": _topics,
    "create": _create,
    "describe": _describe,
    "produce": _produce,
    "consume": _consume,
    "groups": _groups,
    "offsets": _offsets,
    "compact": _compact,
    "verify": _verify,
    "dump": _dump,
}
