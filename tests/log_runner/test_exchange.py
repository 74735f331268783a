"""Exchanges: order, markers, flow, disk given back; which worker gets which rows; names of state."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.keys import EncodedKey
from hornbeam.runners.log.edges import KEY_GROUPS, worker_of_group
from hornbeam.runners.log.exchange import Exchange, Rows, create_exchange, dumps, remove_exchanges
from hornbeam.runners.log.key_groups import KeyGroups, group_of
from hornbeam.runners.log.routing import (
    BroadcastSender,
    KeyedSender,
    Outbox,
    SpreadSender,
)
from hornbeam.runners.log.state_names import local_key, name_bytes, worker_of
from hornbeam.storage.checkpoint import decode_key, groups_of_worker
from hornbeam.transforms.window import GlobalWindow, IntervalWindow


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Exchange, Exchange]:
    folder = str(tmp_path / "exchange")
    create_exchange(folder, 2)
    return Exchange(folder, 0, 2), Exchange(folder, 1, 2)


def test_records_come_in_the_order_of_sending_with_markers_between(pair: tuple[Exchange, Exchange]) -> None:
    sender, receiver = pair
    sender.outs[1].append(b"a")
    sender.outs[1].append(b"ticket", b"7")
    sender.outs[1].append(b"b")
    channel = receiver.ins[0]
    assert sender.lag_bytes() == 8
    taken = [channel.take() for _ in range(4)]
    assert [(r.data, r.marker) for r in taken if r] == [(b"a", None), (b"ticket", b"7"), (b"b", None)]
    assert taken[3] is None
    assert sender.lag_bytes() == 0
    assert (sender.totals(), receiver.totals()) == ((8, 0), (0, 8))


def test_what_is_under_way_can_be_read_beside(pair: tuple[Exchange, Exchange]) -> None:
    sender, receiver = pair
    for data in (b"a", b"b", b"c"):
        sender.outs[1].append(data)
    channel = receiver.ins[0]
    channel.take()
    records = channel.records_from(channel.offset)
    assert [next(records).data, next(records).data] == [b"b", b"c"]
    assert next(records) is None
    sender.outs[1].append(b"d")
    assert next(records).data == b"d"
    assert channel.take().data == b"b"


def test_the_disk_of_what_was_taken_is_given_back_but_for_what_a_snapshot_needs(
    pair: tuple[Exchange, Exchange], tmp_path: Path
) -> None:
    sender, receiver = pair
    channel, data = receiver.ins[0], bytes(1 << 20)
    sizes = []
    kept = None
    for number in range(100):
        sender.outs[1].append(data)
        if number == 40:
            kept = channel.kept_from = channel.offset
        if number == 80:
            records = channel.records_from(kept)
            assert next(records).data == data
            records.close()
            channel.kept_from = None
        channel.take()
        sizes.append(_size(tmp_path))
    assert max(sizes[:40]) < 40 << 20
    assert sizes[-1] < 40 << 20


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_exchanges_of_ended_attempts_are_removed(tmp_path: Path) -> None:
    create_exchange(str(tmp_path / "attempt-1"), 2)
    remove_exchanges(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 64])
def test_workers_own_the_groups_that_the_store_gives_them(workers: int) -> None:
    for worker in range(workers):
        assert {worker_of_group(g, workers) for g in groups_of_worker(worker, workers, KEY_GROUPS)} <= {
            worker
        }
    assert {worker_of_group(g, workers) for g in range(KEY_GROUPS)} == set(range(workers))


KEYS: list[Any] = ["a", "b", b"c", 3, None, ("a", 3), True, 1.5, "\ud800", 2**70]


def _routed(values: list[Any], workers: int = 3) -> dict[int, list[Any]]:
    outboxes = {other: Outbox() for other in range(1, workers)}
    local: list[Any] = []
    groups = KeyGroups(lambda key: repr(key).encode())
    sender = KeyedSender(0, groups, 0, workers, lambda bundle: local.extend(bundle.values), outboxes)
    sender(Bundle(values, np.arange(len(values))))
    sender(Bundle(values[:1]))
    sent = {w: [v for m in box.take() for v in m.bundle.values] for w, box in outboxes.items()}
    return {0: local, **sent}


def test_a_key_goes_to_the_owner_of_its_group_in_order() -> None:
    values = [(key, number) for number in range(3) for key in KEYS]
    routed = _routed(values)
    assert sorted(map(repr, chain(*routed.values()))) == sorted(map(repr, [*values, values[0]]))
    for worker, pairs in routed.items():
        for key, _ in pairs:
            assert worker_of_group(KeyGroups(lambda k: repr(k).encode()).of(key), 3) == worker
        assert [n for k, n in pairs if k == "b"] in ([], [0, 1, 2])


def test_one_true_and_one_point_zero_are_three_keys() -> None:
    groups = KeyGroups(lambda key: repr(key).encode())
    assert len({name_bytes(EncodedKey(k, repr(k).encode())) for k in (True, 1.0)} | {name_bytes(1)}) == 3
    assert groups.of(1) == group_of(1)


def test_a_bundle_that_is_no_pairs_is_refused_where_the_head_would_refuse_it() -> None:
    def refuse(bundle: Bundle) -> None:
        raise TypeError("needs pairs")

    sender = KeyedSender(0, KeyGroups(lambda key: b""), 0, 2, refuse, {1: Outbox()})
    with pytest.raises(TypeError, match="needs pairs"):
        sender(Bundle([5, 6]))


def test_spread_gives_each_worker_its_part_and_broadcast_all() -> None:
    outboxes = {1: Outbox(), 2: Outbox()}
    local: list[Any] = []
    spread = SpreadSender(4, 0, 3, lambda bundle: local.append(bundle.values), outboxes)
    for number in range(3):
        spread(Bundle([number]))
    spread(Bundle([3, 4, 5]))
    assert (
        local,
        [m.bundle.values for m in outboxes[1].take()],
        [m.bundle.values for m in outboxes[2].take()],
    ) == (
        [[0], [3]],
        [[1], [4]],
        [[2], [5]],
    )
    BroadcastSender(4, lambda bundle: local.append(bundle.values), outboxes)(Bundle([9]))
    assert local[-1] == [9]
    assert [outboxes[w].take() for w in (1, 2)] != [[], []]


def test_rows_travel_with_their_columns() -> None:
    bundle = Bundle([("k", 1), ("k", 2)], np.array([5, 6]), (IntervalWindow(0, 10),))
    (back,) = pickle.loads(dumps([Rows(3, bundle)]))
    assert (back.edge, back.bundle.values, back.bundle.timestamp_list()) == (3, bundle.values, [5, 6])
    assert back.bundle.window_list() == bundle.window_list()


NAMES: list[Any] = [
    ("a", IntervalWindow(0, 10)),
    ("a", GlobalWindow()),
    (("a", "a"), "waiting", 3),
    (EncodedKey(1.5, b"1.5"), IntervalWindow(0, 10)),
    (None, "token", 7),
    (b"\x00", (IntervalWindow(0, 10), IntervalWindow(5, 15))),
]


def test_names_are_the_same_in_every_process() -> None:
    code = "import sys, pickle\nfrom hornbeam.runners.log.state_names import name_bytes\n"
    code += "print([name_bytes(name).hex() for name in pickle.load(sys.stdin.buffer)])"
    told = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(NAMES), capture_output=True, check=True
    )
    assert told.stdout.decode().strip() == str([name_bytes(name).hex() for name in NAMES])
    assert len({name_bytes(name) for name in NAMES}) == len(NAMES)


def test_names_do_not_depend_on_which_parts_are_one_object() -> None:
    text = "".join(["a", "b"])
    assert name_bytes((text, text)) == name_bytes(("ab", "".join(["a", "b"])))


def test_local_entries_know_their_worker() -> None:
    key = decode_key(local_key("step", 300, b"h", (None, "token", 7)))
    assert (key.state, worker_of(key.key)) == ("step", (300, b"h" + name_bytes((None, "token", 7))))


def test_exchanges_leave_no_file_open_for_ever(pair: tuple[Exchange, Exchange]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        pair[0].outs[1].append(b"x" * 1000)
        pair[1].ins[0].take()
    assert len(os.listdir("/proc/self/fd")) <= before + 4
