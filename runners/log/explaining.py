"""Asking all workers of an attempt what holds time back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from hornbeam.runners.engine.explain import Explanation, StepExplanation
from hornbeam.runners.log.messages import Explain, Explained


class Explaining:
    """Questions, and the answers of the workers so far; who asks meanwhile gets the same answer."""

    def __init__(self, send: Callable[[Any], None], workers: int) -> None:
        """`send` tells all workers something."""
        self._send = send
        self._workers = workers
        self._answers: dict[int, Explained] = {}
        self._thens: list[Callable[[Explanation], None]] = []
        self._number = 0

    def ask(self, then: Callable[[Explanation], None], step: str, state: str) -> None:
        """`then` is given what holds time back at a step, once all workers have said so."""
        self._number += 1
        self._answers = {}
        self._thens.append(lambda found: then(attrs.evolve(found, step=step, state=state)))
        self._send(Explain(self._number))

    def heard(self, worker: int, message: Explained) -> None:
        """A worker's answer."""
        if message.number == self._number:
            self._answers[worker] = message

    def look(self) -> None:
        """Answers those who ask, if all workers have."""
        if not self._thens or len(self._answers) < self._workers:
            return
        thens, self._thens = self._thens, []
        stages = _joined([answer.stages for _, answer in sorted(self._answers.items())])
        for then in thens:
            then(Explanation(stages))


def _joined(of_workers: list[tuple[StepExplanation, ...]]) -> tuple[StepExplanation, ...]:
    """The stages over all workers: of each the facts of the worker whose time is furthest back."""
    found = []
    for parts in zip(*of_workers):
        furthest = min(parts, key=lambda part: part.output_watermark)
        found.append(
            attrs.evolve(
                furthest,
                elements=sum(part.elements for part in parts),
                entries=sum(part.entries for part in parts),
                due_clock=min((part.due_clock for part in parts if part.due_clock is not None), default=None),
            )
        )
    return tuple(found)
