"""A crash at every call of scripted and random workloads, several outcomes each; every call failing once."""

from __future__ import annotations

import errno

import pytest
from storage_checkpoint.crash_campaign import (
    crash_after_failures,
    crash_everywhere,
    crash_in_recovery_everywhere,
    fail_everywhere,
    kill_and_crash_everywhere,
)
from storage_checkpoint.workload import SCRIPT, random_script

SHORT = ["open", "commit", "savepoint:a", "commit", "commit", "compact", "delete:a", "reopen", "commit"]


def test_a_crash_at_every_call_of_the_script_leaves_the_last_commit_whole() -> None:
    assert crash_everywhere(SCRIPT, seed=1, outcomes=5) > 800


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_every_call_of_a_random_workload(seed: int) -> None:
    assert crash_everywhere(random_script(seed), seed, outcomes=2) > 100


def test_what_an_opening_after_a_kill_has_shown_survives_a_crash_of_the_machine_after_it() -> None:
    assert kill_and_crash_everywhere(SCRIPT, seed=5) > 150


def test_a_second_crash_at_every_call_of_a_recovery() -> None:
    assert crash_in_recovery_everywhere(SCRIPT, seed=6, one_in=1) > 1000


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE], ids=errno.errorcode.__getitem__)
def test_crashes_of_a_process_that_copes_with_failing_calls(number: int) -> None:
    assert crash_after_failures(SCRIPT, number, seed=7, one_in=1) > 100


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EMFILE], ids=errno.errorcode.__getitem__)
def test_every_call_may_fail_once(number: int) -> None:
    assert fail_everywhere(SHORT, number, seed=2) > 30


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.__getitem__)
def test_a_disk_that_fails_for_a_while(number: int) -> None:
    assert fail_everywhere(SHORT, number, seed=3, sticky=True) > 40
