"""Kills real processes with SIGKILL at random moments and checks what they leave.

A child opens the store, goes on from its newest checkpoint, commits, merges, makes and deletes savepoints, with
writers of its own in further processes. Its content at sequence number k is a function of k alone, so the parent
can tell from the metadata what must be there. The child reports each step before and after; a kill takes the
whole process group.

    python tests/storage_checkpoint/kill_campaign.py --kills 5000
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import signal
import sys
import tempfile
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import attrs
from storage_checkpoint.model import KEY_GROUPS, Changes, State, apply, check_no_orphans, contents

from hornbeam.storage import files as files_module
from hornbeam.storage.checkpoint import (
    CheckpointStore,
    PendingCheckpoint,
    StateFile,
    StoreOptions,
    encode_key,
    groups_of_worker,
    verify,
)
from hornbeam.storage.checkpoint.key import key_group_of
from hornbeam.storage.files import OS_FILES

OPTIONS = StoreOptions(retain=2, block_bytes=400, runs_max=3)
STEPS_MAX = 400


def changes_at(sequence: int) -> Changes:
    """What happens between sequence number - 1 and it."""
    rng = random.Random(sequence)
    changes: Changes = {}
    for _ in range(rng.randrange(1, 60)):
        number = rng.randrange(150)
        key = encode_key(rng.choice("ab"), number % KEY_GROUPS, b"%d" % number)
        changes[key] = None if rng.random() < 0.25 else b"%d/%d" % (sequence, number) * rng.randrange(4)
    return changes


@attrs.define
class Expected:
    """The state at each sequence number, and what the children have acknowledged."""

    states: list[State] = attrs.Factory(lambda: [{}])
    acknowledged: int = 0
    savepoints: dict[str, int] = attrs.Factory(dict)
    started: str | None = None

    def at(self, sequence: int) -> State:
        """The state at a sequence number."""
        while len(self.states) <= sequence:
            self.states.append(apply(self.states[-1], changes_at(len(self.states))))
        return self.states[sequence]

    def note(self, line: str) -> None:
        """Take in one line that a child has reported."""
        verb, *rest = line.split()
        if verb == "start":
            self.started = " ".join(rest)
            return
        self.started = None
        if verb == "committed":
            self.acknowledged = int(rest[0])
        elif verb == "saved":
            self.savepoints[rest[0]] = int(rest[1])
        elif verb == "deleted":
            del self.savepoints[rest[0]]


def job(directory: str, seed: int, report: int) -> None:
    """What a child does until it is killed."""

    def say(line: str) -> None:
        os.write(report, line.encode() + b"\n")

    rng = random.Random(seed)
    with CheckpointStore(directory, OPTIONS, key_groups=KEY_GROUPS, lock_timeout_s=20) as store:
        head = store.head
        sequence = int(head.metadata["sequence"]) if head else 0
        for _ in range(STEPS_MAX):
            act = rng.random()
            if act < 0.7 or not store.checkpoints():
                pending = store.begin()
                files = _write(pending, changes_at(sequence + 1), rng)
                if files is None:
                    pending.abort()
                    continue
                sequence += 1
                say(f"start commit {sequence}")
                pending.commit(files, {"sequence": sequence})
                say(f"committed {sequence}")
            elif act < 0.8:
                store.compact(full=rng.random() < 0.3)
            elif act < 0.9:
                name = f"s{sequence}"
                if name not in [m.savepoint for m in store.savepoints()]:
                    say(f"start save {name} {sequence}")
                    store.savepoint(name)
                    say(f"saved {name} {sequence}")
            elif store.savepoints():
                name = str(rng.choice(store.savepoints()).savepoint)
                say(f"start delete {name}")
                store.delete_savepoint(name)
                say(f"deleted {name}")


def _write(pending: PendingCheckpoint, changes: Changes, rng: random.Random) -> list[StateFile] | None:
    """Write in this process or, now and then, in two others; None if one of them died."""
    if rng.random() < 0.8:
        writer = pending.writer("w")
        writer.update(changes)
        return list(writer.finish())
    files: list[StateFile] = []
    children = []
    for worker in range(2):
        reader, sender = os.pipe()
        child = os.fork()
        if child == 0:
            own = groups_of_worker(worker, 2, KEY_GROUPS)
            share = pending.ticket.writer(f"p{worker}")
            share.update({key: value for key, value in changes.items() if key_group_of(key) in own})
            os.write(sender, pickle.dumps(share.finish()))
            os._exit(0)
        os.close(sender)
        children.append((child, reader))
    whole = True
    for child, reader in children:
        with os.fdopen(reader, "rb") as pipe:
            share = pipe.read()
        _, status = os.waitpid(child, 0)
        if status == 0:
            files += pickle.loads(share)
        whole = whole and status == 0
    return files if whole else None


def run_and_kill(directory: str, seed: int, delay_s: float | None, fault: str | None) -> list[str]:
    """One child, killed after a delay or by an armed fault point; the lines that it reported."""
    reader, sender = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setpgid(0, 0)
            os.close(reader)
            files_module.arm(fault)
            job(directory, seed, sender)
            status = 0
        finally:
            os._exit(status)
    os.close(sender)
    if delay_s is not None:
        time.sleep(delay_s)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as pipe:
        lines = pipe.read().decode().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the child failed, seed {seed}"
    return lines


def check(directory: str, expected: Expected) -> None:
    """Open what is left: the last acknowledged commit or the one in progress, and all of it."""
    with CheckpointStore(directory, OPTIONS, key_groups=KEY_GROUPS, lock_timeout_s=20) as store:
        started = (expected.started or "").split()
        newest = expected.acknowledged
        for manifest in [*store.checkpoints(), *store.savepoints()]:
            with store.snapshot(manifest.savepoint or manifest.checkpoint) as snapshot:
                assert contents(snapshot) == expected.at(int(snapshot.metadata["sequence"]))
        if store.head is not None:
            newest = int(store.head.metadata["sequence"])
        allowed = {expected.acknowledged, *([int(started[1])] if started[:1] == ["commit"] else [])}
        assert newest in allowed, (newest, allowed)
        expected.acknowledged = newest
        saved = {str(m.savepoint): int(m.metadata["sequence"]) for m in store.savepoints()}
        options = [dict(expected.savepoints)]
        if started[:1] == ["save"]:
            options.append({**expected.savepoints, started[1]: int(started[2])})
        if started[:1] == ["delete"]:
            options.append({k: v for k, v in expected.savepoints.items() if k != started[1]})
        assert saved in options
        expected.savepoints, expected.started = saved, None
        assert len(store.checkpoints()) <= OPTIONS.retain
        check_no_orphans(store, OS_FILES)
    report = verify(directory)
    assert report.sound and not report.orphans, report


def campaign(directory: str, kills: int, seconds: float, seed: int) -> tuple[int, int]:
    """Kill until a number or the time is reached; (kills, checkpoints committed)."""
    rng = random.Random(seed)
    expected = Expected()
    end = time.monotonic() + seconds
    done = 0
    while done < kills and time.monotonic() < end:
        number = seed * 1_000_000 + done
        if rng.random() < 0.6:
            lines = run_and_kill(directory, number, rng.uniform(0, 0.05), None)
        else:
            action = rng.choice(["kill", "kill", "tear"])
            name = "files.write" if action == "tear" else "*"
            lines = run_and_kill(directory, number, None, f"{name}:{rng.randrange(1, 200)}:{action}")
        for line in lines:
            expected.note(line)
        check(directory, expected)
        done += 1
    return done, expected.acknowledged


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        kills, committed = campaign(directory, args.kills, args.seconds, args.seed)
    print(f"{kills} kills survived, {committed} checkpoints committed, seed {args.seed}")


if __name__ == "__main__":
    main()
