"""The triggers of the streaming reference interpreter: one small state machine for each kind, as docs/event-time.md has it.

A trigger is told of elements (`element`), asked whether its condition is true (`would_fire`), told that it fired
(`fired`) and, where windows merge, made of several (`merged`). Times are microseconds of processing time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hornbeam.graph.model import Spec


class Trigger:
    """What all kinds have in common."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.finished = False

    def element(self, now: int) -> None:
        """An element has come."""

    def would_fire(self, ended: bool, now: int) -> bool:
        """Whether the condition is true: a question about state, which changes nothing."""
        raise NotImplementedError

    def fired(self, ended: bool, now: int) -> bool:
        """It fires; says whether it does so for the end of the window."""
        raise NotImplementedError

    def moments(self) -> list[int]:
        """The processing times that it waits for."""
        return []

    def merged(self, others: Sequence[Any], ended: bool) -> None:
        """It becomes the trigger of a merged window, which has ended or not, out of those of its parts."""
        raise NotImplementedError

    def parts(self) -> list[Trigger]:
        """New triggers for the specs of the composite's parts."""
        return [trigger(spec) for spec in self.spec["triggers"]]


class Default(Trigger):
    """Fires when the window ends; after that at each element."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.fired_for_end = False
        self.has_elements = False

    def element(self, now: int) -> None:
        self.has_elements = True

    def would_fire(self, ended: bool, now: int) -> bool:
        return ended and (not self.fired_for_end or self.has_elements)

    def fired(self, ended: bool, now: int) -> bool:
        self.fired_for_end, self.has_elements = True, False
        return True

    def merged(self, others: Sequence[Default], ended: bool) -> None:
        self.fired_for_end = ended and any(other.fired_for_end for other in others)
        self.has_elements = any(other.has_elements for other in others)


class Always(Trigger):
    """Fires at every element."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.has_elements = False

    def element(self, now: int) -> None:
        self.has_elements = True

    def would_fire(self, ended: bool, now: int) -> bool:
        return self.has_elements

    def fired(self, ended: bool, now: int) -> bool:
        self.has_elements = False
        return False

    def merged(self, others: Sequence[Always], ended: bool) -> None:
        self.has_elements = any(other.has_elements for other in others)


class Never(Trigger):
    """Never fires."""

    def would_fire(self, ended: bool, now: int) -> bool:
        return False

    def merged(self, others: Sequence[Never], ended: bool) -> None:
        pass


class AfterCount(Trigger):
    """Fires once, with the n-th element since it began."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.count = 0

    def element(self, now: int) -> None:
        self.count += 1

    def would_fire(self, ended: bool, now: int) -> bool:
        return self.count >= self.spec["count"]

    def fired(self, ended: bool, now: int) -> bool:
        self.finished = True
        return False

    def merged(self, others: Sequence[AfterCount], ended: bool) -> None:
        self.finished = any(other.finished for other in others)
        self.count = sum(other.count for other in others)


class AfterProcessingTime(Trigger):
    """Fires once, when processing time is `delay` past the first element since it began."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.moment: int | None = None

    def element(self, now: int) -> None:
        if self.moment is None:
            self.moment = now + self.spec.get("delay_micros", 0)

    def would_fire(self, ended: bool, now: int) -> bool:
        return self.moment is not None and now >= self.moment

    def fired(self, ended: bool, now: int) -> bool:
        self.finished = True
        return False

    def moments(self) -> list[int]:
        return [] if self.moment is None else [self.moment]

    def merged(self, others: Sequence[AfterProcessingTime], ended: bool) -> None:
        self.finished = any(other.finished for other in others)
        moments = [other.moment for other in others if other.moment is not None]
        self.moment = min(moments, default=None)


class AfterWatermark(Trigger):
    """Fires as `early` does, again and again, until the window ends; then for the end; then as `late` does.

    `early` has no part in it once the end has fired, and `late` begins then.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.fired_for_end = False
        self.early = self.begun("early")
        self.late = self.begun("late")

    def begun(self, part: str) -> Trigger | None:
        return trigger(self.spec[part]) if part in self.spec else None

    def current(self) -> Trigger | None:
        return self.late if self.fired_for_end else self.early

    def element(self, now: int) -> None:
        current = self.current()
        if current is not None:
            current.element(now)

    def would_fire(self, ended: bool, now: int) -> bool:
        if ended and not self.fired_for_end:
            return True
        current = self.current()
        return current is not None and current.would_fire(ended, now)

    def fired(self, ended: bool, now: int) -> bool:
        if ended and not self.fired_for_end:
            self.fired_for_end = True
            self.finished = "late" not in self.spec
            return True
        current = self.current()
        assert current is not None
        current.fired(ended, now)
        if current.finished and self.fired_for_end:
            self.late = self.begun("late")
        elif current.finished:
            self.early = self.begun("early")
        return False

    def moments(self) -> list[int]:
        current = self.current()
        return [] if current is None else current.moments()

    def merged(self, others: Sequence[AfterWatermark], ended: bool) -> None:
        self.fired_for_end = ended and any(other.fired_for_end for other in others)
        self.finished = self.fired_for_end and "late" not in self.spec
        if self.fired_for_end and self.late is not None:
            self.late.merged([other.late for other in others if other.fired_for_end], ended)
            self.late = self.begun("late") if self.late.finished else self.late
        if not self.fired_for_end and self.early is not None:
            self.early.merged([other.early for other in others if not other.fired_for_end], ended)
            self.early = self.begun("early") if self.early.finished else self.early


class Repeatedly(Trigger):
    """Fires as `underlying` does, which begins again when it has finished."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.underlying = trigger(spec["underlying"])

    def begin_again_if_finished(self) -> None:
        if self.underlying.finished:
            self.underlying = trigger(self.spec["underlying"])

    def element(self, now: int) -> None:
        self.underlying.element(now)

    def would_fire(self, ended: bool, now: int) -> bool:
        return self.underlying.would_fire(ended, now)

    def fired(self, ended: bool, now: int) -> bool:
        for_end = self.underlying.fired(ended, now)
        self.begin_again_if_finished()
        return for_end

    def moments(self) -> list[int]:
        return self.underlying.moments()

    def merged(self, others: Sequence[Repeatedly], ended: bool) -> None:
        self.underlying.merged([other.underlying for other in others], ended)
        self.begin_again_if_finished()


class Composite(Trigger):
    """Of several parts, which all hear of elements until they have finished."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.triggers = self.parts()

    def unfinished(self) -> list[Trigger]:
        return [part for part in self.triggers if not part.finished]

    def element(self, now: int) -> None:
        for part in self.unfinished():
            part.element(now)

    def moments(self) -> list[int]:
        return [moment for part in self.unfinished() for moment in part.moments()]

    def merged(self, others: Sequence[Any], ended: bool) -> None:
        for index, part in enumerate(self.triggers):
            part.merged([other.triggers[index] for other in others], ended)


class AfterAny(Composite):
    """Fires when a part would; the parts that would are told. Has finished when one of those has."""

    def would_fire(self, ended: bool, now: int) -> bool:
        return any(part.would_fire(ended, now) for part in self.unfinished())

    def fired(self, ended: bool, now: int) -> bool:
        told = [part for part in self.unfinished() if part.would_fire(ended, now)]
        for_end = [part.fired(ended, now) for part in told]
        self.finished = any(part.finished for part in told)
        return any(for_end)

    def merged(self, others: Sequence[Any], ended: bool) -> None:
        super().merged(others, ended)
        self.finished = any(part.finished for part in self.triggers)


class AfterAll(Composite):
    """Fires when all parts would, or have finished. Has finished when all parts have."""

    def would_fire(self, ended: bool, now: int) -> bool:
        return all(part.would_fire(ended, now) for part in self.unfinished())

    def fired(self, ended: bool, now: int) -> bool:
        for_end = [part.fired(ended, now) for part in self.unfinished()]
        self.finished = not self.unfinished()
        return any(for_end)

    def merged(self, others: Sequence[Any], ended: bool) -> None:
        super().merged(others, ended)
        self.finished = not self.unfinished()


class AfterEach(Composite):
    """Fires as the first part that has not finished. A part begins when those before it have finished."""

    def element(self, now: int) -> None:
        self.unfinished()[0].element(now)

    def would_fire(self, ended: bool, now: int) -> bool:
        return self.unfinished()[0].would_fire(ended, now)

    def fired(self, ended: bool, now: int) -> bool:
        for_end = self.unfinished()[0].fired(ended, now)
        self.finished = not self.unfinished()
        return for_end

    def moments(self) -> list[int]:
        return self.unfinished()[0].moments()

    def merged(self, others: Sequence[Any], ended: bool) -> None:
        super().merged(others, ended)
        for index, part in enumerate(self.triggers):
            if not part.finished:
                # What follows has not begun, also where it had begun in a window whose end has moved.
                self.triggers[index + 1 :] = self.parts()[index + 1 :]
                break
        self.finished = not self.unfinished()


_KINDS: dict[str, Callable[[Spec], Trigger]] = {
    "default": Default,
    "always": Always,
    "never": Never,
    "after_count": AfterCount,
    "after_processing_time": AfterProcessingTime,
    "after_synchronized_processing_time": AfterProcessingTime,
    "after_watermark": AfterWatermark,
    "repeatedly": Repeatedly,
    "after_any": AfterAny,
    "or_finally": AfterAny,
    "after_all": AfterAll,
    "after_each": AfterEach,
}


def trigger(spec: Spec) -> Trigger:
    """A new trigger of that spec."""
    return _KINDS[spec["type"]](spec)
