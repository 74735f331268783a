"""What becomes of each job of the kill campaign, from its seed alone: a pipeline, a life, and where it is killed.

A life is phases; each has a command, which is started again and again until the job has come to the phase's end:

    run        ─ to the end ─►
    savepoint  ─ savepoints are taken ─ to the end ─►
    rescale    ─ stopped, or killed ─► another number of workers, from the savepoint or not ─►
    change     ─ stopped, or killed ─► the changed pipeline, perhaps with other workers ─►
    drain      ─ drained ─►
    fresh      ─ killed ─► begun anew with --fresh, killed in the middle of that ─► as a plain start ─►

The examples read on for ever: they are killed, and drained with another number of workers when all their answers are there.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
from log_runner import campaign_jobs
from log_runner.kill_points import LIVES, POINTS, Point
from log_runner.kill_subjects import EXAMPLES, Sizes, Subject, subject

from hornbeam.runners.log.states import DONE, DRAINED, STOPPED

#: How many of the jobs that may be examples are.
_EXAMPLES_SHARE = 0.3
#: How many have all of their state on disk.
_ON_DISK_SHARE = 0.25


@attrs.frozen
class Deck:
    """What seeds go through."""

    points: tuple[Point, ...] = POINTS
    pipelines: tuple[str, ...] = campaign_jobs.PIPELINES
    examples: tuple[str, ...] = tuple(sorted(EXAMPLES))
    lives: tuple[str, ...] = LIVES
    subject: Callable[[str, str, Sizes], Subject] = subject


DECK = Deck()


@attrs.frozen(kw_only=True)
class Phase:
    """Part of a life: what is started, and what the job is told meanwhile."""

    pipeline: str
    workers: int
    flags: tuple[str, ...] = ()
    #: `stop`, `savepoint` or `drain`; at a checkpoint so many after the phase's first.
    told: str = ""
    after: int = 0
    #: The states in which the phase has come to its end; none: it ends with a kill of everything, at `after`.
    ends: tuple[str, ...] = (DONE,)


@attrs.define
class Plan:
    """What a seed comes to."""

    seed: int
    point: Point
    life: str
    pipeline: str
    kills: int
    phases: list[Phase]

    def __str__(self) -> str:
        phases = " then ".join(
            f"{phase.pipeline} with {phase.workers} workers{' told to ' + phase.told if phase.told else ''}"
            for phase in self.phases
        )
        return (
            f"{self.life}: {phases}; {self.kills} random kills, and at {self.point.role}'s {self.point.name}"
        )


def plan_of(seed: int, deck: Deck = DECK) -> Plan:
    """The job of a seed. Seeds in a row go through all points."""
    chance = random.Random(seed)
    point = deck.points[seed % len(deck.points)]
    life = chance.choice([life for life in point.lives if life in deck.lives])
    name = chance.choice([n for n in deck.pipelines if n in point.pipelines] or deck.pipelines)
    if not point.pipelines and life in ("run", "drain") and chance.random() < _EXAMPLES_SHARE:
        name = chance.choice(deck.examples or (name,))
    workers = chance.choice((1, 2, 2, 3))
    memory = ("--memory_limit=1",) if point.on_disk or chance.random() < _ON_DISK_SHARE else ()
    other = chance.choice([n for n in (1, 2, 3, 4) if n != workers])
    after = chance.randrange(1, 8)
    if point.name == "coordinator.savepointed" or chance.random() < 0.6:
        first_end = Phase(
            pipeline=name, workers=workers, flags=memory, told="stop", after=after, ends=(STOPPED, DONE)
        )
    else:
        first_end = Phase(pipeline=name, workers=workers, flags=memory, after=after, ends=())
    last = Phase(pipeline=name, workers=workers, flags=memory)
    if name in EXAMPLES:
        drained = Phase(pipeline=name, workers=other, told="drain", ends=(DRAINED,))
        phases = [attrs.evolve(first_end, told="", ends=(), flags=()), drained]
    elif life == "run":
        phases = [last]
    elif life == "savepoint":
        phases = [attrs.evolve(last, told="savepoint", after=after)]
    elif life == "rescale":
        phases = [first_end, attrs.evolve(last, workers=other)]
    elif life == "change":
        renamed = campaign_jobs.RENAMED.get(name)
        mapping = (f"--map_transforms={renamed}={renamed} again",) if renamed else ()
        now = chance.choice((workers, other))
        phases = [
            first_end,
            attrs.evolve(last, pipeline=f"{name}+", workers=now, flags=(*memory, *mapping)),
        ]
    elif life == "drain":
        phases = [attrs.evolve(last, told="drain", after=after, ends=(DRAINED, DONE))]
    else:
        phases = [attrs.evolve(first_end, told="", ends=()), attrs.evolve(last, workers=other)]
    return Plan(seed, point, life, name, chance.randrange(4, 9), phases)
