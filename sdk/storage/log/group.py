"""Consumer groups without a server: members in several processes agree through a small file under a lock.

    groups/<group>/group.lock           guards state.json
    groups/<group>/state.json           generation, members, who shall have what, who holds what
    groups/<group>/pulse                shared words: count of changes; then a heartbeat for each member's slot
    groups/<group>/member-<id>.lock     held by the member for as long as its process lives

A member whose lock is free is dead: whoever notices removes it. A member that has not polled for `lease_ms` is
removed too, and learns of it at its next call (MemberFencedError for its commits). A partition changes hands
only after its holder has let go of it or was removed, so it never has two.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from hornbeam.storage.errors import CorruptionError, LockTimeoutError, MissingFileError
from hornbeam.storage.files import Lock
from hornbeam.storage.log.assignment import ASSIGNORS, Place
from hornbeam.storage.log.bell import EVERY_TOPIC
from hornbeam.storage.log.errors import InvalidSettingError, LogError, MemberFencedError, UnknownTopicError
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.sealed_json import seal, unseal

SLOTS = 1023
STATE_NAME = "state.json"


@attrs.define
class MemberInfo:
    """A member as state.json has it."""

    topics: list[str]
    slot: int
    assignor: str
    lease_ms: int
    client: str = ""


@attrs.define
class GroupState:
    """The group's agreement. `target`: who shall have what; `held`: who has it now."""

    generation: int = 0
    members: dict[str, MemberInfo] = attrs.Factory(dict)
    counts: dict[str, int] = attrs.Factory(dict)
    target: dict[str, list[Place]] = attrs.Factory(dict)
    held: dict[Place, str] = attrs.Factory(dict)

    def encode(self) -> bytes:
        """The file's bytes."""
        fields = attrs.asdict(self)
        fields["held"] = [[topic, number, member] for (topic, number), member in self.held.items()]
        return seal(fields)

    @classmethod
    def decode(cls, path: str, data: bytes) -> GroupState:
        """Inverse of `encode`."""
        fields = unseal(path, data)
        return cls(
            fields["generation"],
            {name: MemberInfo(**member) for name, member in fields["members"].items()},
            fields["counts"],
            {name: [(t, p) for t, p in places] for name, places in fields["target"].items()},
            {(t, p): member for t, p, member in fields["held"]},
        )


@attrs.frozen
class Rebalance:
    """What changed for a member: what it must let go of (then call `release`), and what it now has."""

    revoked: frozenset[Place]
    assigned: frozenset[Place]
    lost: bool = False


class GroupFiles:
    """A group's directory: its lock, state and pulse. Used by members and by those who only look."""

    def __init__(self, log: Log, group: str) -> None:
        if not group or "/" in group or group.startswith("."):
            raise InvalidSettingError(f"group name {group!r}: not empty, no '/', not beginning with '.'")
        self.log = log
        self.group = group
        self.directory = os.path.join(log.directory, "groups", group)
        self._state_path = os.path.join(self.directory, STATE_NAME)

    def locked(self) -> Lock:
        """The group's lock."""
        return self.log.files.lock(os.path.join(self.directory, "group.lock"))

    def load(self) -> GroupState:
        """The state now; an empty one when there is none, or when it is damaged (members then join anew)."""
        try:
            return GroupState.decode(self._state_path, self.log.files.read_bytes(self._state_path))
        except MissingFileError:
            return GroupState()
        except CorruptionError:
            return GroupState(generation=1)

    def save(self, state: GroupState) -> None:
        """Replace the state; the caller holds the lock."""
        self.log.files.write_atomic(self._state_path, state.encode())

    def member_path(self, member: str) -> str:
        """The lock file that shows a member alive."""
        return os.path.join(self.directory, f"member-{member}.lock")

    def is_dead(self, member: str) -> bool:
        """Whether nobody holds the member's lock."""
        try:
            self.log.files.lock(self.member_path(member), timeout=0).release()
        except LockTimeoutError:
            return False
        return True


def list_groups(log: Log) -> list[str]:
    """Groups that have or had members, sorted."""
    path = os.path.join(log.directory, "groups")
    return log.files.listdir(path) if log.files.exists(path) else []


class GroupMember:
    """This process's membership. Not for several threads at once."""

    def __init__(
        self,
        log: Log,
        group: str,
        topics: Sequence[str],
        *,
        assignor: str = "sticky",
        lease_ms: int = 30_000,
        heartbeat_ms: int = 200,
        client: str = "",
    ) -> None:
        if assignor not in ASSIGNORS:
            raise InvalidSettingError(f"assignor must be one of {', '.join(ASSIGNORS)}, not {assignor!r}")
        self._log = log
        self._files = GroupFiles(log, group)
        self._topics = list(topics)
        self._assignor = assignor
        self._lease_ms = lease_ms
        self._heartbeat_s = heartbeat_ms / 1000
        self._client = client or f"pid {os.getpid()}"
        self.group = group
        self.member_id = ""
        self.generation = -1
        self.assignment: frozenset[Place] = frozenset()
        self._slot = 0
        self._seen_pulse = -1
        self._checked_at = 0.0
        self._life: Lock | None = None
        log.files.mkdir(self._files.directory)
        self._pulse = log.files.map_shared(os.path.join(self._files.directory, "pulse"), 8 * (SLOTS + 1))
        self._words = self._pulse.cast("B").cast("Q")

    def join(self) -> None:
        """Become a member; what it is given comes with the next `poll`."""
        self.member_id = uuid.uuid4().hex[:12]
        self._life = self._log.files.lock(self._files.member_path(self.member_id), timeout=1.0)
        try:
            self._enter_group()
        except BaseException:
            self._forget()
            raise
        self._seen_pulse = -1

    def _enter_group(self) -> None:
        with self._files.locked():
            state = self._files.load()
            self._drop_dead(state)
            taken = {member.slot for member in state.members.values()}
            free = [slot for slot in range(1, SLOTS + 1) if slot not in taken]
            if not free:
                raise LogError(f"group {self.group!r} has {SLOTS} members already")
            self._slot = free[0]
            self._beat()
            state.members[self.member_id] = MemberInfo(
                self._topics, self._slot, self._assignor, self._lease_ms, self._client
            )
            self._deal(state)

    def leave(self) -> None:
        """Give everything back at once."""
        if self._life is None:
            return
        with self._files.locked():
            state = self._files.load()
            if self.member_id in state.members:
                self._remove(state, self.member_id)
                self._deal(state)
        self._forget()

    def poll(self) -> Rebalance | None:
        """Show a sign of life; what changed for this member, if anything did. Quick when nothing did."""
        now = time.monotonic()
        self._beat()
        if self._words[0] == self._seen_pulse and now - self._checked_at < self._heartbeat_s:
            return None
        self._checked_at = now
        with self._files.locked():
            state = self._files.load()
            seen = int(self._words[0])
            if self.member_id not in state.members:
                lost = self.assignment
                self._forget()
                return Rebalance(lost, frozenset(), lost=True)
            if self._drop_dead(state) | (state.counts != self._counts(state)):
                self._deal(state)
            target = set(state.target.get(self.member_id, ()))
            revoked = {place for place, member in state.held.items() if member == self.member_id} - target
            free = {place for place in target if place not in state.held}
            if free:
                for place in free:
                    state.held[place] = self.member_id
                self._save(state)
            self._seen_pulse = int(self._words[0]) if free else seen
            self.generation = state.generation
        self.assignment = frozenset(place for place in target if state.held.get(place) == self.member_id)
        return Rebalance(frozenset(revoked), frozenset(free)) if revoked or free else None

    def release(self, places: Iterable[Place]) -> None:
        """Let others have these; after this they must not be read or committed by this member."""
        gone = set(places)
        with self._files.locked():
            state = self._files.load()
            if self.member_id in state.members:
                state.held = {
                    place: member
                    for place, member in state.held.items()
                    if place not in gone or member != self.member_id
                }
                self._save(state)
        self.assignment -= gone

    @contextmanager
    def holding(self, places: Iterable[Place]) -> Iterator[None]:
        """Keep the group as it is while offsets are written; MemberFencedError unless this member holds them all."""
        with self._files.locked():
            state = self._files.load()
            self._check_held(state, places)
            yield

    def wait_s(self) -> float:
        """How long a consumer may sleep until its next `poll`."""
        return self._heartbeat_s

    def _check_held(self, state: GroupState, places: Iterable[Place]) -> None:
        if self._life is None or self.member_id not in state.members:
            raise MemberFencedError(
                f"this consumer was removed from group {self.group!r} (it did not poll for {self._lease_ms} ms, or "
                "was taken for dead); what it read since will be read again by others"
            )
        for place in places:
            if state.held.get(place) != self.member_id:
                raise MemberFencedError(
                    f"{place[0]}-{place[1]} is not assigned to this member of {self.group!r}"
                )

    def _beat(self) -> None:
        self._words[self._slot] = time.monotonic_ns() // 1000

    def _drop_dead(self, state: GroupState) -> bool:
        """Remove members whose process is gone or whose lease ran out."""
        now = time.monotonic_ns() // 1000
        gone = False
        for name, member in list(state.members.items()):
            if name == self.member_id:
                continue
            overdue = now - self._words[member.slot] > member.lease_ms * 1000
            if overdue or self._files.is_dead(name):
                self._remove(state, name)
                gone = True
        return gone

    def _remove(self, state: GroupState, name: str) -> None:
        state.members.pop(name)
        state.target.pop(name, None)
        state.held = {place: member for place, member in state.held.items() if member != name}
        try:
            self._log.files.unlink(self._files.member_path(name))
        except MissingFileError:
            pass

    def _counts(self, state: GroupState) -> dict[str, int]:
        counts = {}
        for topic in sorted({topic for member in state.members.values() for topic in member.topics}):
            try:
                counts[topic] = self._log.topic(topic).partition_count
            except UnknownTopicError:
                counts[topic] = 0
        return counts

    def _deal(self, state: GroupState) -> None:
        """Deal the partitions anew and save."""
        state.generation += 1
        state.counts = self._counts(state)
        if state.members:
            assignor = state.members[min(state.members)].assignor
            wants = {name: member.topics for name, member in state.members.items()}
            state.target = ASSIGNORS[assignor](wants, state.counts, state.held)
        self._save(state)

    def _save(self, state: GroupState) -> None:
        self._files.save(state)
        self._words[0] = self._words[0] + 1
        self._log.bell.ring(EVERY_TOPIC)

    def _forget(self) -> None:
        if self._life is not None:
            self._life.release()
        self._life = None
        self.assignment = frozenset()
        self.generation = -1

    @property
    def is_member(self) -> bool:
        """Whether it has joined, and was not found to be removed."""
        return self._life is not None


def describe_group(log: Log, group: str) -> dict[str, Any]:
    """Members with what they hold, for people to look at."""
    files = GroupFiles(log, group)
    state = files.load()
    held: dict[str, list[Place]] = {}
    for place, member in state.held.items():
        held.setdefault(member, []).append(place)
    members = [
        {
            "member": name,
            "client": member.client,
            "topics": member.topics,
            "alive": not files.is_dead(name),
            "partitions": sorted(held.get(name, [])),
        }
        for name, member in sorted(state.members.items())
    ]
    return {"group": group, "generation": state.generation, "members": members}
