"""How a group's partitions are dealt out to its members: pure functions, the same everywhere.

Each gets `wants` (member -> topics it reads), `counts` (topic -> partitions) and `held` (partition -> member that
has it now) and says member -> partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

Place = tuple[str, int]
Assignment = dict[str, list[Place]]


def sticky(
    wants: Mapping[str, Sequence[str]], counts: Mapping[str, int], held: Mapping[Place, str]
) -> Assignment:
    """Even numbers, and as few partitions as possible change hands."""
    dealt: Assignment = {member: [] for member in sorted(wants)}
    for place in _places(wants, counts):
        owner = held.get(place)
        if owner in dealt and place[0] in wants[owner]:
            dealt[owner].append(place)
    taken = {place for places in dealt.values() for place in places}
    for place in _places(wants, counts):
        if place not in taken:
            able = [member for member in dealt if place[0] in wants[member]]
            dealt[min(able, key=lambda member: (len(dealt[member]), member))].append(place)
    moved = True
    while moved:
        moved = False
        for giver in sorted(dealt, key=lambda member: -len(dealt[member])):
            for place in reversed(dealt[giver]):
                able = [m for m in dealt if place[0] in wants[m] and len(dealt[m]) + 1 < len(dealt[giver])]
                if able:
                    dealt[giver].remove(place)
                    dealt[min(able, key=lambda member: (len(dealt[member]), member))].append(place)
                    moved = True
                    break
            if moved:
                break
    return {member: sorted(places) for member, places in dealt.items()}


def ranges(
    wants: Mapping[str, Sequence[str]], counts: Mapping[str, int], held: Mapping[Place, str]
) -> Assignment:
    """Of every topic a run of neighbouring partitions, so that equal partitions of two topics meet."""
    dealt: Assignment = {member: [] for member in sorted(wants)}
    for topic in sorted({topic for topics in wants.values() for topic in topics}):
        able = [member for member in dealt if topic in wants[member]]
        share, extra = divmod(counts.get(topic, 0), len(able))
        at = 0
        for rank, member in enumerate(able):
            size = share + (rank < extra)
            dealt[member] += [(topic, number) for number in range(at, at + size)]
            at += size
    return dealt


def round_robin(
    wants: Mapping[str, Sequence[str]], counts: Mapping[str, int], held: Mapping[Place, str]
) -> Assignment:
    """One after the other, in turn."""
    dealt: Assignment = {member: [] for member in sorted(wants)}
    turn = 0
    members = list(dealt)
    for place in _places(wants, counts):
        while place[0] not in wants[members[turn % len(members)]]:
            turn += 1
        dealt[members[turn % len(members)]].append(place)
        turn += 1
    return dealt


def _places(wants: Mapping[str, Sequence[str]], counts: Mapping[str, int]) -> list[Place]:
    topics = sorted({topic for topics in wants.values() for topic in topics})
    return [(topic, number) for topic in topics for number in range(counts.get(topic, 0))]


ASSIGNORS: dict[
    str, Callable[[Mapping[str, Sequence[str]], Mapping[str, int], Mapping[Place, str]], Assignment]
] = {"sticky": sticky, "range": ranges, "roundrobin": round_robin}
