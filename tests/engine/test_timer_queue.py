"""TimerQueue against the obvious thing: a dict that is sorted whenever somebody asks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.runners.engine.timer_queue import TimerQueue

names = st.sampled_from("abcdef")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), names, st.integers(0, 9)),
        st.tuples(st.just("clear"), names),
        st.tuples(st.just("pop"), st.integers(0, 9)),
        st.tuples(st.just("pop and set"), st.integers(0, 9), names, st.integers(0, 9)),
    ),
    max_size=60,
)


class Plain:
    """Names with (time, number of the setting)."""

    def __init__(self) -> None:
        self.times: dict[str, tuple[int, int]] = {}
        self.count = 0

    def set(self, name: str, time: int) -> None:
        self.count += 1
        self.times[name] = (time, self.count)

    def pop(self, until: int) -> tuple[int, str] | None:
        """The first that is due."""
        due = sorted((entry, name) for name, entry in self.times.items() if entry[0] <= until)
        if not due:
            return None
        (time, _), name = due[0]
        del self.times[name]
        return time, name


@settings(max_examples=300, deadline=None)
@given(steps)
def test_names_come_up_in_the_order_of_time_then_of_setting(todo: Any) -> None:
    queue: TimerQueue[str] = TimerQueue()
    plain = Plain()
    for step in todo:
        if step[0] == "set":
            queue.set(*step[1:])
            plain.set(*step[1:])
        elif step[0] == "clear":
            queue.clear(step[1])
            plain.times.pop(step[1], None)
        else:
            again = step[2:]
            for found in queue.pop_due(step[1]):
                assert found == plain.pop(step[1])
                if again:
                    queue.set(*again)
                    plain.set(*again)
                    again = ()
            assert plain.pop(step[1]) is None
        assert queue.next_time() == min((time for time, _ in plain.times.values()), default=None)
        assert len(queue) == len(plain.times)
        assert dict(queue.items()) == {name: time for name, (time, _) in plain.times.items()}
        assert all(queue.order_of(name) == order for name, (_, order) in plain.times.items())


def test_names_that_are_put_off_cost_no_memory() -> None:
    queue: TimerQueue[int] = TimerQueue()
    for time in range(10_000):
        queue.set(time % 10, time)
    assert len(queue._heap) == 10
    for time in range(10_000):
        queue.clear(time % 10)
        queue.set(time % 10, time)
    assert len(queue._heap) <= 64
    assert [time for time, _ in queue.pop_due(1 << 40)] == list(range(9990, 10_000))
    assert queue.next_time() is None
