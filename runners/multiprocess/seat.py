"""A worker as the coordinator sees it: its process, what it is doing, and how far it is."""

from __future__ import annotations

import time
from typing import Any

import attrs

from hornbeam.runners.multiprocess.task_book import Task
from hornbeam.runners.multiprocess.worker import STACKS_SIGNAL, stacks_path
from hornbeam.runners.processes.forked_process import ForkedProcess

#: A task runs this long before a part of it is asked for.
_SPLIT_AFTER_SECONDS = 0.015
#: A task that had nothing to give is asked again after this long, and after twice as long each time.
_SPLIT_AGAIN_SECONDS = (0.02, 1.0)
_STACKS_SECONDS = 1.0


@attrs.define(eq=False)
class Seat:
    """A worker with what it is doing. Used by the coordinator's thread."""

    process: ForkedProcess
    task: Task | None = None
    attempt: int = 0
    since: float = 0.0
    #: When the task last got on, as far as is known, and how far it was.
    moved: float = 0.0
    portions: int = -1
    step: str | None = None
    elements: int = 0
    fraction: float = 0.0
    is_reported: bool = False
    is_careful: bool = False
    asked: bool = False
    ask_after: float = 0.0
    ask_pause: float = _SPLIT_AGAIN_SECONDS[0]
    idle_since: float = 0.0
    stages: set[str] = attrs.field(factory=set)
    #: Stages whose end was not yet confirmed.
    ending: set[str] = attrs.field(factory=set)
    is_leaving: bool = False
    why_ended: str = ""

    def tell(self, message: Any) -> None:
        """Sends it a message; nothing happens when it has died: that is seen when its end is waited for."""
        try:
            self.process.channel.send(message)
        except OSError:
            pass

    def received(self) -> tuple[list[Any], bool]:
        """The messages that are there, and whether no more can come."""
        messages: list[Any] = []
        try:
            while self.process.channel.has_message():
                messages.append(self.process.channel.receive())
        except (EOFError, OSError):
            return messages, True
        return messages, False

    def begin(self, task: Task, attempt: int, is_careful: bool) -> None:
        """It gets a task."""
        now = time.monotonic()
        self.task, self.attempt, self.since, self.moved = task, attempt, now, now
        self.portions, self.step, self.elements, self.fraction = -1, None, 0, 0.0
        self.is_reported = self.asked = False
        self.is_careful = is_careful
        self.ask_after, self.ask_pause = now + _SPLIT_AFTER_SECONDS, _SPLIT_AGAIN_SECONDS[0]

    def answered(self, has_given: bool) -> None:
        """It was asked for a part of its task, and has given some or had none to give."""
        self.asked = False
        now = time.monotonic()
        if has_given:
            self.ask_after, self.ask_pause = now, _SPLIT_AGAIN_SECONDS[0]
        else:
            self.ask_after = now + self.ask_pause
            self.ask_pause = min(2 * self.ask_pause, _SPLIT_AGAIN_SECONDS[1])

    def leave(self) -> None:
        """It has no task any more."""
        self.task, self.asked = None, False
        self.idle_since = time.monotonic()

    def close(self) -> None:
        """Ends its process, which may only have stopped talking."""
        self.process.kill()
        self.process.close()

    def stacks(self, folder: str) -> str:
        """The stacks that it has written into the run's folder; nothing if there are none."""
        try:
            with open(stacks_path(folder, self.process.number), errors="replace") as file:
                return file.read().strip()
        except OSError:
            return ""

    def stacks_now(self, folder: str) -> str:
        """Has it write its stacks, which it does whatever its interpreter is busy with."""
        self.process.kill(STACKS_SIGNAL)
        until = time.monotonic() + _STACKS_SECONDS
        found = ""
        while time.monotonic() < until:
            now = self.stacks(folder)
            if now and now == found:
                break
            found = now
            time.sleep(0.02)
        return found
