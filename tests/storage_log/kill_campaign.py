"""Real processes that write to one log and are killed with SIGKILL at random moments, or at the n-th call to the disk;
what they noted in a journal before and after each step is then held against the log.

As a program: `PYTHONPATH=tests python -m storage_log.kill_campaign [kills] [seed]`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from typing import Any

import attrs
from storage_log.model import read_values

from hornbeam.storage import files as storage_files
from hornbeam.storage.log import Log, Producer
from hornbeam.storage.log.offset_store import OffsetStore
from hornbeam.storage.log.transaction import TransactionCoordinator
from hornbeam.storage.log.verify import verify

TOPIC = "t"
PARTITIONS = 3
ROUND_KILLS = 25


@attrs.define
class Tally:
    """What a campaign did."""

    kills: int = 0
    rounds: int = 0
    acknowledged: int = 0
    committed: int = 0
    seconds: float = 0.0


class Worker:
    """The body of a writing process. Every step is noted before it begins and after it ended."""

    def __init__(self, directory: str, slot: int, seed: int) -> None:
        self.rng = random.Random(seed)
        self.slot = slot
        self.journal = os.open(f"{directory}.journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.name = f"{slot}.{os.getpid()}.{seed}"
        self.count = 0
        self.log = Log(directory)
        self.plain = {acks: Producer(self.log, acks=acks, linger_ms=None) for acks in ("write", "fsync")}
        self.transactional = Producer(self.log, transactional_id=f"tx-{slot}", linger_ms=None)

    def note(self, **event: Any) -> None:
        """One line that a kill cannot tear apart."""
        os.write(self.journal, json.dumps(event).encode() + b"\n")

    def values(self, records: int) -> list[str]:
        """Fresh values, numbered."""
        self.count += records
        return [f"{self.name}:{self.count - records + i:06d}" for i in range(records)]

    def run(self) -> None:
        """Until killed."""
        while True:
            if self.rng.random() < 0.3:
                self.transact()
            else:
                self.append()

    def append(self) -> None:
        """A batch with an acknowledgement."""
        partition, values = self.rng.randrange(PARTITIONS), self.values(self.rng.choice([1, 1, 3, 40]))
        self.note(e="try", p=partition, v=values)
        producer = self.plain[self.rng.choice(["write", "write", "fsync"])]
        producer.append(TOPIC, [v.encode() for v in values], partition=partition)
        self.note(e="ack", p=partition, v=values)

    def transact(self) -> None:
        """A transaction over two partitions and offsets, committed or not."""
        number = f"{self.name}/{self.count}"
        first, second = self.rng.sample(range(PARTITIONS), 2)
        self.transactional.begin_transaction()
        self.note(e="begin", t=number)
        for partition in (first, second):
            values = self.values(2)
            self.note(e="try", p=partition, v=values, t=number)
            self.transactional.append(TOPIC, [v.encode() for v in values], partition=partition)
        self.count += 1
        self.transactional.send_offsets({(TOPIC, 0): self.count}, f"g{self.slot}")
        if self.rng.random() < 0.7:
            self.note(e="committing", t=number, o=self.count, s=self.slot)
            self.transactional.commit_transaction()
            self.note(e="committed", t=number)
        else:
            self.transactional.abort_transaction()
            self.note(e="aborted", t=number)


def start(directory: str, slot: int, seed: int, fault: str | None) -> int:
    """Fork a worker; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            storage_files.arm(fault)
            Worker(directory, slot, seed).run()
        except BaseException:
            import traceback

            with open(f"{directory}.failure", "a") as out:
                traceback.print_exc(file=out)
        finally:
            os._exit(1)
    return pid


def check(directory: str, tally: Tally) -> None:
    """Hold the log against the journal."""
    if os.path.exists(f"{directory}.failure"):
        raise AssertionError(open(f"{directory}.failure").read())
    attempts: list[dict[str, str | None]] = [{} for _ in range(PARTITIONS)]
    acknowledged: list[set[str]] = [set() for _ in range(PARTITIONS)]
    status: dict[str, str] = {}
    offsets: dict[int, list[tuple[str, int]]] = {}
    for line in open(f"{directory}.journal"):
        event = json.loads(line)
        if event["e"] == "try":
            attempts[event["p"]].update(dict.fromkeys(event["v"], event.get("t")))
        elif event["e"] == "ack":
            acknowledged[event["p"]].update(event["v"])
        else:
            status[event["t"]] = event["e"]
            if event["e"] == "committing":
                offsets.setdefault(event["s"], []).append((event["t"], event["o"]))
    with Log(directory) as log:
        coordinator = TransactionCoordinator.of(log)
        visible_of: dict[str, set[bool]] = {}
        for number in range(PARTITIONS):
            partition = log.partition(TOPIC, number)
            assert coordinator.resolve(partition), "a dead process holds others up"
            there = [value.decode() for value in read_values(partition, committed=False)]
            assert len(there) == len(set(there)), f"partition {number} has duplicates"
            assert set(there) <= set(attempts[number]), f"partition {number} has what nobody wrote"
            missing = acknowledged[number] - set(there)
            assert not missing, f"partition {number} lost {sorted(missing)[:5]}"
            by_writer: dict[str, list[str]] = {}
            for value in there:
                by_writer.setdefault(value.partition(":")[0], []).append(value)
            assert all(values == sorted(values) for values in by_writer.values()), "out of order"
            visible = {value.decode() for value in read_values(partition, committed=True)}
            for value, transaction in attempts[number].items():
                if transaction is None:
                    assert (value in visible) == (value in set(there)) or value not in there
                else:
                    visible_of.setdefault(transaction, set()).add(value in visible)
        for transaction, seen in visible_of.items():
            assert len(seen) == 1, f"transaction {transaction} ({status[transaction]}) is visible in part"
            if status[transaction] == "committed":
                assert seen == {True}, f"transaction {transaction} is gone"
            elif status[transaction] != "committing":
                assert seen == {False}, f"void transaction {transaction} is visible"
        for slot, commits in offsets.items():
            expected = [offset for transaction, offset in commits if visible_of[transaction] == {True}]
            found = OffsetStore.of(log).committed(f"g{slot}")
            assert [entry.offset for entry in found.values()] == expected[-1:], (slot, found, expected[-3:])
        tally.acknowledged += sum(map(len, acknowledged))
        tally.committed += sum(1 for state in status.values() if state == "committed")
        for name in log.topics(internal=True):
            for partition in log.topic(name).partitions():
                partition.ensure_open()  # cuts off what the dead left half-written
    report = verify(directory)
    assert report.sound, [str(finding) for finding in report.findings]


def campaign(kills: int, seed: int, workers: int = 2, seconds: float | None = None) -> Tally:
    """Kill that many workers (or until time is up); check after every round."""
    rng = random.Random(seed)
    tally, began = Tally(), time.monotonic()
    while tally.kills < kills and (seconds is None or time.monotonic() - began < seconds):
        root = tempfile.mkdtemp(prefix="kill-campaign-")
        directory = os.path.join(root, "log")
        try:
            with Log(directory) as log:
                log.create_topic(TOPIC, PARTITIONS, segment_bytes=16384, index_interval_bytes=512)
            one_round(directory, rng, tally, min(ROUND_KILLS, kills - tally.kills), workers)
        finally:
            shutil.rmtree(root, ignore_errors=True)
        tally.rounds += 1
    tally.seconds = time.monotonic() - began
    return tally


def one_round(directory: str, rng: random.Random, tally: Tally, kills: int, workers: int) -> None:
    """Workers are killed and replaced; a few times all of them go and the log is checked."""
    running: dict[int, int] = {}
    for number in range(kills):
        for slot in range(workers):
            if slot not in running:
                fault = None
                if rng.random() < 0.5:
                    action = rng.choice(
                        ["*:{}:kill", "files.write:{}:tear", "files.sync:{}:kill", "files.rename:{}:kill"]
                    )
                    fault = action.format(
                        rng.randint(1, 400) if action.startswith("*") else rng.randint(1, 60)
                    )
                running[slot] = start(directory, slot, rng.randrange(2**31), fault)
        time.sleep(rng.uniform(0.002, 0.08))
        victims = list(running) if number % 8 == 7 else [rng.choice(list(running))]
        for slot in victims:
            pid = running.pop(slot)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            tally.kills += 1
        if not running:
            check(directory, tally)
    for pid in running.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        tally.kills += 1
    check(directory, tally)


if __name__ == "__main__":
    print(
        campaign(
            int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 1
        )
    )
