"""After which failures a job goes on: same ones in a row, attempts that come to no checkpoint."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from hornbeam.error import OptionError, RunnerError
from hornbeam.runners.log.attempt import CRASHED, FAILED, Outcome
from hornbeam.runners.log.failures import signature_of
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
