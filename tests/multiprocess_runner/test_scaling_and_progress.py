"""How many workers there are, and what a person at a terminal sees."""

from __future__ import annotations

import io

import pytest

from hornbeam.graph import urns
from hornbeam.graph.model import Graph, Transform
from hornbeam.options.pipeline_options import MultiProcessOptions, PipelineOptions
from hornbeam.runners.multiprocess.progress import StageProgress
from hornbeam.runners.multiprocess.scaling import IDLE_SECONDS, Scaling
from hornbeam.runners.multiprocess.task_book import TaskBook
from hornbeam.runners.planner.plan import Plan, Stage


@pytest.mark.parametrize(
    ("workers", "busy", "backlog", "wanted"),
    [(1, 1, 5, 3), (1, 1, 1, 1), (1, 0, 5, 0), (4, 4, 9, 0), (2, 2, 0, 0)],
)
def test_workers_are_added_for_work_that_waits(workers, busy, backlog, wanted):
    assert Scaling(1, 4).wanted(workers, busy, backlog) == wanted


def test_an_idle_worker_leaves_where_there_may_be_fewer():
    assert Scaling(1, 4).may_leave(2, IDLE_SECONDS)
    assert not Scaling(1, 4).may_leave(1, IDLE_SECONDS)
    assert not Scaling(1, 4).may_leave(2, IDLE_SECONDS - 1)


@pytest.mark.parametrize(
    ("flags", "num_workers", "bounds"),
    [
        ([], 3, (3, 3)),
        (["--max_workers=4"], None, (4, 4)),
        (["--min_workers=1", "--max_workers=4"], None, (1, 4)),
        (["--max_workers=4"], 2, (2, 4)),
        (["--min_workers=1"], 3, (1, 3)),
    ],
)
def test_bounds_of_workers(flags, num_workers, bounds):
    assert PipelineOptions(flags).view_as(MultiProcessOptions).worker_bounds(num_workers) == bounds


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_shows_a_bar_for_each_stage_at_work():
    steps = {"a": Transform("reading", urns.IMPULSE), "b": Transform("writing", urns.IMPULSE)}
    plan = Plan(Graph(), steps, (Stage("S1", ("a",)), Stage("S2", ("b",), frozenset({"S1"}))))
    book = TaskBook(plan, 2, 1 << 20)
    book.start_ready()
    screen, quiet = Terminal(), io.StringIO()
    for stream in (screen, quiet):
        progress = StageProgress(stream=stream)
        progress._next = 0
        progress.show(book, [])
        progress.close()
    assert "0/2 stages │ reading ░░░░░░░░░░   0%" in screen.getvalue()
    assert quiet.getvalue() == ""
