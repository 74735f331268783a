"""Views of side inputs, the cyclic collector around a run, and the notes on failures."""

from __future__ import annotations

import gc

import pytest

import hornbeam as beam
from hornbeam.graph.model import SideInput
from hornbeam.pvalue import EmptySideInput
from hornbeam.runners.engine import collector
from hornbeam.runners.engine.bundle import Bundle, Coded
from hornbeam.runners.engine.combine_operators import CombineFolder
from hornbeam.runners.engine.failures import Failure, note_failure, short_repr
from hornbeam.runners.engine.side_inputs import SideInputReader, SpooledIterable
from hornbeam.runners.engine.spill import Spool, TemporarySpace
from hornbeam.runners.engine.streaming_views import StreamingView
from hornbeam.transforms.pardo import SideInputRef
from hornbeam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, SlidingWindows


@pytest.fixture
def spool(tmp_path):
    space = TemporarySpace(str(tmp_path))
    yield Spool(space, 1 << 20, "side")
    space.close()


def reader(spool, view, window_fn=None, default=()):
    side = SideInput(access="", view=view)
    return SideInputReader("step", side, window_fn or GlobalWindows(), spool, list(default))


PAIRS = [("a", 1), ("b", 2), ("a", 3)]


@pytest.mark.parametrize(
    ("view", "values", "expected"),
    [
        ("AsSingleton", [5], 5),
        ("AsList", [1, 2], [1, 2]),
        ("AsList", [], []),
        ("AsIter", [1, 2], [1, 2]),
        ("AsDict", PAIRS[:2], {"a": 1, "b": 2}),
        ("AsDict", [], {}),
        ("AsMultiMap", PAIRS, {"a": [1, 3], "b": [2]}),
    ],
)
def test_views(spool, view, values, expected):
    if values:
        spool.append(Bundle(values))
    given = reader(spool, view).get(None)
    assert (list(given) if view == "AsIter" else given) == expected


def test_a_singleton_of_nothing(spool):
    assert isinstance(reader(spool, "AsSingleton").get(None), EmptySideInput)
    assert reader(spool, "AsSingleton", default=[None]).get(None) is None


@pytest.mark.parametrize("view", ["AsDict", "AsMultiMap"])
@pytest.mark.parametrize("bad", [5, ("a", 1, 2), "abc"])
def test_views_by_key_refuse_what_is_no_pair(spool, view, bad):
    spool.append(Bundle([("a", 1), bad]))
    with pytest.raises(TypeError, match=f"{view} at 'step' needs .key, value. pairs"):
        reader(spool, view).get(None)


def test_keys_that_cannot_be_hashed_are_named(spool):
    spool.append(Bundle([([], 1)]))
    with pytest.raises(TypeError, match="keys that can be hashed"):
        reader(spool, "AsDict").get(None)


def test_a_windowed_view_is_made_for_each_window_once(spool):
    first, second = IntervalWindow(0, 10), IntervalWindow(10, 20)
    spool.append(Bundle([1, 2, 3], 0, Coded.of([(first,), (second,), (first,)])))
    views = reader(spool, "AsList", FixedWindows(10))
    assert views.get(first) == [1, 3]
    assert views.get(second) == [2]
    assert views.get(IntervalWindow(20, 30)) == []
    assert views.get(first) is views.get(first)


def test_an_iterable_from_the_spool_can_be_read_again(spool):
    spool.append(Bundle([1, 2]))
    iterable = SpooledIterable(spool)
    assert list(iterable) == list(iterable) == [1, 2]
    assert len(iterable) == 2


# The collector


def state():
    return gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()


def test_the_collector_is_put_back():
    before = state()
    with collector.relaxed():
        assert gc.get_threshold()[0] == collector.THRESHOLD
        with collector.relaxed():
            assert gc.get_threshold()[0] == collector.THRESHOLD
        assert gc.get_threshold()[0] == collector.THRESHOLD
    assert state() == before


def test_the_collector_is_put_back_after_a_failure():
    before = state()
    with pytest.raises(LookupError), collector.relaxed():
        raise LookupError
    assert state() == before


def test_a_collector_that_the_user_turned_off_stays_off():
    gc.disable()
    try:
        with collector.relaxed():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


# Failures


class BadRepr:
    def __repr__(self):
        raise LookupError


@pytest.mark.parametrize("value", [BadRepr(), "x" * 10_000, list(range(10_000)), {"a": BadRepr()}])
def test_a_short_repr_is_short_and_never_raises(value):
    assert len(short_repr(value)) < 1000


def test_the_innermost_step_is_the_one_that_is_noted():
    error = LookupError()
    note_failure(error, "inner", Bundle([1, 2]), 1)
    note_failure(error, "outer", Bundle([3]), 0)
    assert error.__notes__ == ["while running step 'inner' on element 2"]
    assert isinstance(error.hornbeam_failure, Failure)


def test_an_index_out_of_range_leaves_the_element_out():
    error = LookupError()
    note_failure(error, "step", Bundle([1]), 5)
    assert error.__notes__ == ["while running step 'step'"]


def test_an_interrupt_gets_no_note():
    error = KeyboardInterrupt()
    note_failure(error, "step", Bundle([1]), 0)
    assert not hasattr(error, "__notes__")


def test_an_exception_that_takes_no_attributes_still_goes_through():
    class Closed(Exception):
        def __setattr__(self, name, value):
            raise AttributeError(name)

    note_failure(Closed(), "step", Bundle([1]), 0)


def test_a_main_window_that_ends_in_a_gap_between_side_windows_is_an_error_that_says_so(spool):
    view = reader(spool, "AsList", SlidingWindows(2, 5))
    assert view.get(IntervalWindow(0, 7)) == []
    with pytest.raises(
        ValueError, match=r"at 'step' goes with the main window \[0.0, 10.0\): SlidingWindows"
    ):
        view.get(IntervalWindow(0, 10))


def test_of_a_combines_arguments_only_references_stand_for_side_inputs():
    class Tagged:
        """Has a tag, as references have, which may be anything."""

        def __init__(self, tag):
            self.tag = tag

    class Keep(beam.CombineFn):
        def create_accumulator(self, *args):
            return args

        def add_inputs(self, accumulator, elements, *args):
            return accumulator

        def extract_output(self, accumulator, *args):
            return accumulator

    class Reader:
        is_global = True

        def get(self, window):
            return "view"

    tagged = [Tagged("side0"), Tagged(["no", "hash"])]
    folder = CombineFolder(Keep(), (*tagged, SideInputRef("side0")), {}, {"side0": Reader()})
    assert folder.fold_for(None)([1]) == (*tagged, "view")


def test_a_view_of_a_snapshot_knows_which_side_windows_are_forgotten():
    """An element that came for one after a restart was given an empty side input; it is to be dropped."""

    def view():
        side = SideInput(access="", view="AsList")
        return StreamingView("step", side, FixedWindows(10), [], None, None)

    first, second = view(), view()
    first.track_changes()
    first.forget(20_000_000)
    changes = first.changes()
    assert first.changes() == []
    second.load(changes)
    second.track_changes()
    assert second.is_forgotten(IntervalWindow(0, 10)) and not second.is_forgotten(IntervalWindow(20, 30))
    assert second.changes() == []
