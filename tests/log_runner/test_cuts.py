"""Chandy and Lamport's rule: what a sender sent behind its marker is not taken before the receiver's own cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.clock import WallClock
from hornbeam.runners.log.cuts import Cuts
from hornbeam.runners.log.exchange import Exchange, create_exchange
from hornbeam.runners.log.messages import TakeSnapshot
from hornbeam.runners.log.snapshots import Cut
from hornbeam.runners.log.state_names import STORE_GROUPS
from hornbeam.storage.checkpoint import CheckpointStore


class Worker:
    """One end, without stages."""

    def __init__(self, folder: str, number: int) -> None:
        self.exchange = Exchange(folder, number, 2)
        self.written: list[Cut] = []
        task: Any = SimpleNamespace(
            stages={}, worker=number, inputs=[], registry=MetricsRegistry(), clock=WallClock()
        )
        thread: Any = SimpleNamespace(write=self.written.append)
        space: Any = None
        self.cuts = Cuts(task, self.exchange, None, thread, space, lambda text: None)
        self.channel = self.exchange.ins[1 - number]

    def send(self, data: bytes) -> None:
        (out,) = self.exchange.outs.values()
        out.append(data)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    folder = str(tmp_path / "exchange")
    create_exchange(folder, 2)
    pair = Worker(folder, 0), Worker(folder, 1)
    yield pair
    for worker in pair:
        worker.exchange.log.close()


@pytest.fixture
def wanted(tmp_path: Path) -> Iterator[TakeSnapshot]:
    with CheckpointStore(tmp_path / "store", key_groups=STORE_GROUPS) as store:
        yield TakeSnapshot(store.begin().ticket)


def test_a_marker_asks_for_the_receivers_cut_before_what_is_behind_it(
    workers: tuple[Worker, Worker], wanted: TakeSnapshot
) -> None:
    sender, receiver = workers
    sender.send(b"before")
    sender.cuts.take(wanted)
    sender.send(b"behind")
    first, marker = receiver.channel.take(), receiver.channel.take()
    assert first is not None and first.data == b"before" and not receiver.cuts.comes_after(0)
    assert marker is not None and receiver.cuts.marked(0, marker) == wanted
    assert receiver.cuts.comes_after(0)
    receiver.cuts.take(wanted)
    assert not receiver.cuts.comes_after(0)
    (cut,) = receiver.written
    assert cut.positions == {0: None}  # nothing was under way
    behind = receiver.channel.take()
    assert behind is not None and behind.data == b"behind"


def test_what_was_sent_before_a_cut_and_comes_after_the_receivers_is_under_way(
    workers: tuple[Worker, Worker], wanted: TakeSnapshot
) -> None:
    sender, receiver = workers
    sender.send(b"taken")
    receiver.channel.take()
    sender.send(b"under way")
    receiver.cuts.take(wanted)
    (cut,) = receiver.written
    assert (
        cut.positions == {0: receiver.channel.offset}
        and receiver.channel.kept_from == receiver.channel.offset
    )
    sender.cuts.take(wanted)  # told by the receiver's marker, or by the coordinator
    sender.send(b"behind")
    under_way = []
    for record in receiver.channel.records_from(receiver.channel.offset):
        assert record is not None
        if record.marker is not None:
            break
        under_way.append(record.data)
    assert under_way == [b"under way"]
    for _ in range(2):
        record = receiver.channel.take()
    assert record is not None and record.marker is not None
    assert receiver.cuts.marked(0, record) == wanted and not receiver.cuts.comes_after(
        0
    )  # it is taken already
