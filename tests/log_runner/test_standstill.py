"""When workers are taken to stand still, from what they answer to polls; and who has the standstill."""

from __future__ import annotations

from typing import Any

import pytest

from hornbeam.runners.log.messages import Poll, Polled, Quiesce
from hornbeam.runners.log.standstill import Standstill


class Workers:
    """Two workers that answer each poll with (bytes sent, bytes taken) of a round."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.standstill = Standstill(self.told.append, 2)

    def answer(self, *of_workers: tuple[int, int]) -> None:
        (number,) = [message.number for message in self.told if isinstance(message, Poll)][-1:]
        for worker, (sent, taken) in enumerate(of_workers):
            self.standstill.heard(worker, Polled(number, True, sent, taken))
        self.standstill.look()

    def quiesced(self) -> list[bool]:
        return [message.on for message in self.told if isinstance(message, Quiesce)]


@pytest.mark.parametrize(
    ("rounds", "is_still"),
    [
        ([[(0, 0), (0, 0)]], False),
        ([[(0, 0), (0, 0)], [(0, 0), (0, 0)]], True),
        ([[(9, 0), (0, 9)], [(9, 0), (0, 9)]], True),
        ([[(9, 0), (0, 5)], [(9, 0), (0, 5)]], False),  # under way
        ([[(9, 0), (0, 9)], [(9, 0), (4, 9)]], False),  # it has sent on
        ([[(9, 0), (0, 9)], [(9, 4), (4, 9)]], False),  # and that has come, between the rounds
        ([[(9, 0), (0, 9)], [(9, 4), (4, 9)], [(9, 4), (4, 9)]], True),
        ([[(9, 0)], [(9, 0)]], False),  # one has not answered
    ],
)
def test_nothing_is_under_way_when_two_rounds_say_the_same(
    rounds: list[list[tuple[int, int]]], is_still: bool
) -> None:
    workers, called = Workers(), []
    workers.standstill.begin(lambda: called.append(True))
    for answers in rounds:
        workers.answer(*answers)
    assert bool(called) == is_still == (not workers.standstill.is_awaited)


def test_an_answer_to_an_earlier_poll_says_nothing() -> None:
    workers, called = Workers(), []
    workers.standstill.begin(lambda: called.append(True))
    first = workers.told[-1].number
    workers.answer((0, 0), (0, 0))
    for worker in (0, 1):
        workers.standstill.heard(worker, Polled(first, True, 0, 0))
    workers.standstill.look()
    assert not called


def test_one_after_the_other_has_the_standstill() -> None:
    workers, called = Workers(), []
    workers.standstill.begin(lambda: called.append("first"))
    workers.standstill.begin(lambda: called.append("second"))
    for _ in range(4):
        workers.answer((0, 0), (0, 0))
    assert called == ["first"] and workers.quiesced() == [True]
    workers.standstill.end()
    for _ in range(2):
        workers.answer((0, 0), (0, 0))
    workers.standstill.end()
    assert called == ["first", "second"] and workers.quiesced() == [True, False, True, False]
