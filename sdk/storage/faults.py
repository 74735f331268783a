"""Fault points: named places in the storage code where a test or a kill campaign can make a process fail.

A plan is text, `name:n:action`, several joined by commas: at the n-th time that point `name` is passed (n
from 1; `*` counts every point; `n+` is that time and all later ones), do `action`: `kill` (SIGKILL to this
process), `stop` (SIGSTOP), `tear` (at a write: half of the bytes are written, then kill), or an errno name in lower case
(`enospc`, `eio`, `emfile`): the operation fails with it. The environment variable HORNBEAM_FAULT arms a process
from outside; HORNBEAM_FAULT_LOG names a file that gets a line, `name pid parent`, for each process that ends so.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Sequence

import attrs

ENVIRONMENT_VARIABLE = "HORNBEAM_FAULT"
LOG_VARIABLE = "HORNBEAM_FAULT_LOG"


@attrs.define
class FaultRule:
    """One armed point: fires when it has been passed `at` times, and ever after if it `stays`."""

    name: str
    at: int
    action: str
    stays: bool = False
    passed: int = 0


class FaultPlan:
    """The armed rules of a process; `passed` says what to do at a point, and counts."""

    def __init__(self, rules: Sequence[FaultRule]) -> None:
        self._rules = list(rules)
        self._lock = threading.Lock()

    @classmethod
    def parse(cls, text: str) -> FaultPlan:
        """Read `name:n:action,...`; ValueError names the part that is wrong."""
        rules = []
        for part in text.split(","):
            fields = part.strip().rsplit(":", 2)
            if len(fields) != 3 or not fields[1].removesuffix("+").isdigit():
                raise ValueError(f"fault rule {part!r} is not name:n:action, such as files.sync:3:kill")
            name, at, action = fields
            if action not in ("kill", "stop", "tear") and not hasattr(errno, action.upper()):
                raise ValueError(
                    f"fault rule {part!r}: {action!r} is not kill, stop, tear or an errno such as eio"
                )
            rules.append(FaultRule(name, int(at.removesuffix("+")), action, at.endswith("+")))
        return cls(rules)

    def passed(self, name: str) -> str | None:
        """Count one passage of point `name`; the action of the rule that fires now, or None."""
        with self._lock:
            fired = None
            for rule in self._rules:
                if rule.name in (name, "*"):
                    rule.passed += 1
                    if rule.passed == rule.at or (rule.stays and rule.passed > rule.at):
                        fired = rule.action
            if fired in ("kill", "stop", "tear"):
                _note(name)
            return fired


def _note(name: str) -> None:
    path = os.environ.get(LOG_VARIABLE)
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{name} {os.getpid()} {os.getppid()}\n")


def perform(action: str) -> None:
    """Do what a fired rule says: end this process, stop it until it is told to go on, or raise the OSError."""
    if action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    if action in ("kill", "tear"):
        os.kill(os.getpid(), signal.SIGKILL)
    number = getattr(errno, action.upper())
    raise OSError(number, f"{os.strerror(number)} [armed fault]")


def plan_from_environment() -> FaultPlan | None:
    """The plan that HORNBEAM_FAULT asks for, if any."""
    text = os.environ.get(ENVIRONMENT_VARIABLE)
    return FaultPlan.parse(text) if text else None
