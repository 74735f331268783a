"""How a group's partitions are dealt out, and the bell without a futex."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.storage.log.assignment import ASSIGNORS, Place, ranges, sticky
from hornbeam.storage.log.bell import Bell, topic_bit

names = st.sampled_from(["a", "b", "c", "d", "e"])
topics = st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=3, unique=True)
counts = st.fixed_dictionaries({"x": st.integers(0, 9), "y": st.integers(0, 9), "z": st.integers(0, 3)})


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, topics, min_size=1), counts, st.sampled_from(sorted(ASSIGNORS)), st.data())
def test_every_partition_has_one_able_owner(
    wants: dict[str, list[str]], counts: dict[str, int], assignor: str, data: st.DataObject
) -> None:
    places = [(topic, number) for topic in sorted(counts) for number in range(counts[topic])]
    held: dict[Place, str] = {
        place: data.draw(names) for place in places[: data.draw(st.integers(0, len(places)))]
    }
    dealt = ASSIGNORS[assignor](wants, counts, held)
    owned = [place for mine in dealt.values() for place in mine]
    assert len(owned) == len(set(owned)) and set(dealt) == set(wants)
    assert set(owned) == {p for p in places if any(p[0] in topics for topics in wants.values())}
    assert all(place[0] in wants[member] for member, mine in dealt.items() for place in mine)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 6), st.integers(0, 30), st.data())
def test_sticky_is_even_and_moves_little(members: int, partitions: int, data: st.DataObject) -> None:
    wants = {f"m{i}": ["x"] for i in range(members)}
    held: dict[Place, str] = {
        ("x", n): data.draw(st.sampled_from([*wants, "gone"])) for n in range(partitions)
    }
    dealt = sticky(wants, {"x": partitions}, held)
    sizes = sorted(map(len, dealt.values()))
    assert sizes[-1] - sizes[0] <= 1
    share = partitions // members
    for member, places in dealt.items():
        mine = {place for place, owner in held.items() if owner == member}
        assert len(mine - set(places)) <= max(len(mine) - share, 0)


def test_ranges_keep_equal_partitions_together() -> None:
    dealt = ranges({"a": ["x", "y"], "b": ["x", "y"]}, {"x": 3, "y": 3}, {})
    assert dealt["b"] == [("x", 2), ("y", 2)]


@pytest.mark.parametrize("futex", [True, False])
def test_bell_wakes_and_times_out(futex: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hornbeam.storage.log.bell._SLICE_S", 3600.0)
    bell = Bell(memoryview(bytearray(64)).cast("Q"))
    if not futex:
        bell._futex = None
    seen = bell.value()
    assert not bell.wait(seen, topic_bit("t"), 0.01)
    woken: list[bool] = []
    waiting = threading.Thread(
        target=lambda: woken.append(bell.wait(seen, topic_bit("t"), 3600)), daemon=True
    )
    waiting.start()
    time.sleep(0.02)  # mostly it sleeps by then
    bell.ring(topic_bit("t"))
    waiting.join(60)
    assert woken == [True]
    assert bell.wait(seen, topic_bit("t"), 0), "what rang before is not missed"
