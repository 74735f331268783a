"""After which failures a job goes on: same ones in a row, attempts that come to no checkpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hornbeam.error import OptionError, RunnerError
from hornbeam.runners.log.attempt import CRASHED, FAILED, Attempt, Outcome
from hornbeam.runners.log.failures import signature_of
from hornbeam.runners.log.messages import Ready
from hornbeam.runners.log.restarts import RestartStrategy


def strategy(failures_max: int = 2, crashes_max: int = 4) -> RestartStrategy:
    settings = SimpleNamespace(failures_max=failures_max, crashes_max=crashes_max, skip_poison_to=None)
    job: Any = SimpleNamespace(
        settings=settings, folder=SimpleNamespace(job_name="j", exchange="/j/exchange")
    )
    return RestartStrategy(job)


def attempt(what: str) -> Outcome:
    """How it ended: `+` came to a checkpoint, `c` died, another letter failed with an error of that kind."""
    kind = what.removeprefix("+")
    if kind == "c":
        return Outcome(CRASHED, "worker 0 has died", has_progressed=what != kind)
    error = {"k": KeyError("x"), "v": ValueError("x"), "o": OptionError("x")}[kind]
    return Outcome(FAILED, "worker 0 has failed", error, signature_of(error), has_progressed=what != kind)


@pytest.mark.parametrize(
    ("attempts", "raised"),
    [
        ("c c c", None),
        ("c c c c", RunnerError),
        ("c c c +c c c c", None),
        ("c c c +c c c c c", RunnerError),
        ("k", None),
        ("k k", KeyError),
        ("+k +k", KeyError),
        ("+k c +k", KeyError),
        ("+k +v +k", None),
        ("k v k v", ValueError),  # that none comes twice in a row does not keep a job going for ever
        ("o", OptionError),  # nobody's code has failed: it would again
    ],
)
def test_a_job_fails(attempts: str, raised: type[Exception] | None) -> None:
    restarts, ends = strategy(), [attempt(each) for each in attempts.split()]
    for end in ends[:-1]:
        restarts.after(end)
    if raised is None:
        restarts.after(ends[-1])
    else:
        with pytest.raises(raised):
            restarts.after(ends[-1])


def test_attempts_that_come_to_nothing_are_made_less_and_less_often() -> None:
    restarts = strategy(crashes_max=99)
    rests = [restarts.after(attempt("c")) for _ in range(10)]
    assert rests[0] == 0 and rests == sorted(rests) and rests[-1] == rests[-2] == 5
    assert restarts.after(attempt("+c")) == 0


def test_no_checkpoint_is_begun_before_all_have_worked_for_an_interval() -> None:
    """One of what was just loaded counted as progress, so an element that killed its worker at once did so for ever."""
    workers = [SimpleNamespace(is_ready=False, last_turn=0.0) for _ in range(2)]
    attempt: Any = SimpleNamespace(
        _interval=1e9,
        _next_checkpoint=0.0,
        are_ready=lambda: all(worker.is_ready for worker in workers),
        restore_ms=0.0,
        restore_cpu_seconds=0.0,
        is_draining=False,
    )
    for number, worker in enumerate(workers):
        assert attempt._next_checkpoint == 0.0
        Attempt._ready(attempt, worker, Ready(number, 1.0, 1.0))  # type: ignore[arg-type]
    assert attempt._next_checkpoint > 1e9
