"""The transforms of transforms.util on bounded pipelines."""

from __future__ import annotations

import logging
import re

import pytest

import hornbeam as beam
from hornbeam.error import PipelineError
from hornbeam.graph import urns
from hornbeam.pvalue import AsSingleton
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import TestWindowedValue, assert_that, equal_to, equal_to_per_window, is_empty
from hornbeam.transforms.util import ReshufflePerKey
from hornbeam.transforms.window import FixedWindows, GlobalWindow, IntervalWindow, TimestampedValue
from hornbeam.utils.timestamp import Timestamp

pytestmark = pytest.mark.usefixtures("bundling")

PAIRS = [("a", 1), ("b", 2), ("a", 3)]


def run(elements, transform, matcher):
    with TestPipeline() as p:
        assert_that(p | beam.Create(elements) | transform, matcher)


@pytest.mark.parametrize(
    "transform, expected",
    [
        (beam.Keys(), ["a", "b", "a"]),
        (beam.Values(), [1, 2, 3]),
        (beam.KvSwap(), [(1, "a"), (2, "b"), (3, "a")]),
        (beam.Keys() | beam.Distinct(), ["a", "b"]),
        (beam.Keys() | beam.RemoveDuplicates(), ["a", "b"]),
        (beam.Values() | beam.WithKeys("k"), [("k", 1), ("k", 2), ("k", 3)]),
        (beam.Values() | beam.WithKeys(str), [("1", 1), ("2", 2), ("3", 3)]),
        (beam.Values() | beam.WithKeys(pow, 2), [(1, 1), (4, 2), (9, 3)]),
        (beam.Values() | beam.WithKeys(lambda n, by: n % by, by=2), [(1, 1), (0, 2), (1, 3)]),
        (beam.ToString.Element(), ["('a', 1)", "('b', 2)", "('a', 3)"]),
        (beam.ToString.Kvs(), ["a,1", "b,2", "a,3"]),
        (beam.ToString.Kvs(delimiter=" = "), ["a = 1", "b = 2", "a = 3"]),
        (beam.ToString.Iterables(), ["a,1", "b,2", "a,3"]),
        (beam.ToString.Iterables(delimiter=""), ["a1", "b2", "a3"]),
        (beam.Reshuffle(), PAIRS),
        (beam.Reshuffle(num_buckets=2), PAIRS),
        (ReshufflePerKey(), PAIRS),
    ],
    ids=lambda value: getattr(value, "label", None),
)
def test_of_pairs(transform, expected):
    run(PAIRS, transform, equal_to(expected))


def test_labels_of_the_small_ones():
    assert (beam.Keys().label, beam.Values().label, beam.KvSwap("swap").label) == ("Keys", "Values", "swap")


def test_they_take_other_labels():
    p = TestPipeline()
    p | beam.Create(PAIRS) | "mine" >> beam.Keys() | "distinct" >> beam.Distinct()
    assert {"mine", "distinct"} <= p.applied_labels


def test_with_keys_from_a_side_input():
    with TestPipeline() as p:
        modulus = p | "Modulus" >> beam.Create([3])
        keyed = p | beam.Create([4, 5]) | beam.WithKeys(lambda n, m: n % m, AsSingleton(modulus))
        assert_that(keyed, equal_to([(1, 4), (2, 5)]))


def test_distinct_is_per_window():
    with TestPipeline() as p:
        stamped = p | beam.Create([1, 2, 12]) | beam.Map(lambda n: TimestampedValue("x", n))
        distinct = stamped | beam.WindowInto(FixedWindows(10)) | beam.Distinct()
        assert_that(
            distinct, equal_to_per_window({IntervalWindow(0, 10): ["x"], IntervalWindow(10, 20): ["x"]})
        )


class TestCoGroupByKey:
    def test_dict(self):
        with TestPipeline() as p:
            left = p | "left" >> beam.Create([("a", 1), ("b", 2), ("a", 3)])
            right = p | "right" >> beam.Create([("a", "x"), ("c", "y")])
            joined = {"l": left, 7: right} | beam.CoGroupByKey()
            in_order = joined | beam.MapTuple(
                lambda k, v: (k, {tag: sorted(values) for tag, values in v.items()})
            )
            assert_that(
                in_order,
                equal_to(
                    [("a", {"l": [1, 3], 7: ["x"]}), ("b", {"l": [2], 7: []}), ("c", {"l": [], 7: ["y"]})]
                ),
            )

    @pytest.mark.parametrize("kind", [tuple, list])
    def test_sequence(self, kind):
        with TestPipeline() as p:
            left = p | "left" >> beam.Create([("a", 1)])
            right = p | "right" >> beam.Create([("a", "x")])
            other = p | "other" >> beam.Create([], reshuffle=False)
            joined = kind([left, right, other]) | beam.CoGroupByKey()
            assert_that(joined, equal_to([("a", ([1], ["x"], []))]))

    def test_values_are_lists(self):
        def check(group):
            _, values = group
            assert all(type(part) is list for part in values)

        with TestPipeline() as p:
            (p | beam.Create([("a", 1)]),) | beam.CoGroupByKey() | beam.Map(check)

    def test_windowed(self):
        with TestPipeline() as p:
            stamped = p | beam.Create([1, 12]) | beam.Map(lambda n: TimestampedValue(("k", n), n))
            windowed = stamped | beam.WindowInto(FixedWindows(10))
            assert_that(
                (windowed, windowed) | beam.CoGroupByKey(),
                equal_to_per_window(
                    {
                        IntervalWindow(0, 10): [("k", ([1], [1]))],
                        IntervalWindow(10, 20): [("k", ([12], [12]))],
                    }
                ),
            )

    def test_of_nothing_needs_the_pipeline(self):
        with pytest.raises((PipelineError, ValueError), match=r"pipeline=p"):
            () | beam.CoGroupByKey()
        with TestPipeline() as p:
            assert_that({} | beam.CoGroupByKey(pipeline=p), is_empty())


class TestRegex:
    LINES = ["abc 12 de 3", "none", "12"]

    @pytest.mark.parametrize(
        "transform, expected",
        [
            (beam.Regex.matches(r"\w+"), ["abc", "none", "12"]),
            (beam.Regex.matches(r"\w+$"), ["none", "12"]),
            (beam.Regex.matches(r"(\w)(\w)", group=2), ["b", "o", "2"]),
            (beam.Regex.matches(r"(?P<first>\w)", group="first"), ["a", "n", "1"]),
            (beam.Regex.matches(r"([a-m])(n)?", group=beam.Regex.ALL), [["a", "a", None]]),
            (beam.Regex.matches(re.compile("ABC", re.IGNORECASE)), ["abc"]),
            (beam.Regex.all_matches(r"(\w)(\w)"), [["ab", "a", "b"], ["no", "n", "o"], ["12", "1", "2"]]),
            (beam.Regex.matches_kv(r"(n)(o)", 1, 2), [("n", "o")]),
            (beam.Regex.matches_kv(r"(n)(o)", 1), [("n", "no")]),
            (beam.Regex.matches_kv(r"(n)(o)", 1, beam.Regex.ALL), [("n", ["no", "n", "o"])]),
            (beam.Regex.find(r"\d+"), ["12", "12"]),
            (beam.Regex.find(r"(\d)(\d)", group=2), ["2", "2"]),
            (beam.Regex.find_all(r"\d+"), [["12", "3"], [], ["12"]]),
            (beam.Regex.find_all(r"(\d)(x?)", group=2, outputEmpty=False), [[], [], []]),
            (beam.Regex.find_all(r"(\d)\d", group=beam.Regex.ALL), [[("12", "1")], [], [("12", "1")]]),
            (beam.Regex.find_kv(r"(\d)(\d)?", 1), [("1", "12"), ("3", "3"), ("1", "12")]),
            (beam.Regex.replace_all(r"\d", "#"), ["abc ## de #", "none", "##"]),
            (beam.Regex.replace_first(r"(\d)", r"<\1>"), ["abc <1>2 de 3", "none", "<1>2"]),
            (beam.Regex.split(r"[ \d]+"), [["abc", "de"], ["none"], []]),
            (beam.Regex.split(r"[ \d]+", outputEmpty=True), [["abc", "de", ""], ["none"], ["", ""]]),
        ],
        ids=lambda value: getattr(value, "label", None),
    )
    def test_table(self, transform, expected):
        run(self.LINES, transform, equal_to(expected))


class TestReify:
    def stamped(self, p):
        return p | beam.Create([1, 12]) | beam.Map(lambda n: TimestampedValue(("k", n), n))

    def test_timestamp_in_value(self):
        with TestPipeline() as p:
            reified = self.stamped(p) | beam.Reify.TimestampInValue()
            assert_that(
                reified,
                equal_to(
                    [("k", TimestampedValue(1, Timestamp(1))), ("k", TimestampedValue(12, Timestamp(12)))]
                ),
            )

    def test_window_in_value(self):
        with TestPipeline() as p:
            reified = self.stamped(p) | beam.WindowInto(FixedWindows(10)) | beam.Reify.WindowInValue()
            assert_that(
                reified,
                equal_to(
                    [
                        ("k", (1, Timestamp(1), IntervalWindow(0, 10))),
                        ("k", (12, Timestamp(12), IntervalWindow(10, 20))),
                    ]
                ),
            )

    def test_window(self):
        with TestPipeline() as p:
            reified = self.stamped(p) | beam.WindowInto(FixedWindows(10)) | beam.Reify.Window()
            assert_that(
                reified,
                equal_to(
                    [
                        (("k", 1), Timestamp(1), IntervalWindow(0, 10)),
                        (("k", 12), Timestamp(12), IntervalWindow(10, 20)),
                    ]
                ),
            )

    def test_timestamp_keeps_the_element_in_its_place(self):
        with TestPipeline() as p:
            assert_that(
                self.stamped(p) | beam.Reify.Timestamp(),
                equal_to(
                    [
                        TestWindowedValue(("k", 1), 1, [GlobalWindow()]),
                        TestWindowedValue(("k", 12), 12, [GlobalWindow()]),
                    ]
                ),
                reify_windows=True,
            )


class TestReshuffle:
    def test_keeps_timestamps_and_windows(self):
        with TestPipeline() as p:
            stamped = p | beam.Create([1, 12]) | beam.Map(lambda n: TimestampedValue(n, n))
            assert_that(
                stamped | beam.WindowInto(FixedWindows(10)) | beam.Reshuffle(),
                equal_to(
                    [
                        TestWindowedValue(1, 1, [IntervalWindow(0, 10)]),
                        TestWindowedValue(12, 12, [IntervalWindow(10, 20)]),
                    ]
                ),
                reify_windows=True,
            )

    def test_is_a_primitive_of_the_graph(self):
        p = TestPipeline()
        p | beam.Create([1]) | "here" >> beam.Reshuffle(num_buckets=3)
        (step,) = [
            step
            for _, step in p.to_graph().leaves()
            if step.urn == urns.RESHUFFLE and step.label.startswith("here")
        ]
        assert step.spec["num_buckets"] == 3

    @pytest.mark.parametrize("num_buckets", [0, -1, 1.5, "3", True])
    def test_refuses_buckets(self, num_buckets):
        with pytest.raises(ValueError, match="num_buckets"):
            beam.Reshuffle(num_buckets)


class TestLogElements:
    @pytest.mark.parametrize(
        "arguments, line",
        [
            ({}, "x"),
            ({"prefix": "> "}, "> x"),
            ({"with_timestamp": True}, "x, timestamp='1970-01-01T00:00:05Z'"),
            ({"with_timestamp": True, "use_epoch_time": True}, "x, timestamp=5"),
            ({"with_window": True, "use_epoch_time": True}, "x, window(start=0, end=10)"),
            (
                {"with_window": True, "with_timestamp": True},
                "x, timestamp='1970-01-01T00:00:05Z', window(start=1970-01-01T00:00:00Z, end=1970-01-01T00:00:10Z)",
            ),
        ],
    )
    def test_prints(self, arguments, line, capfd):
        with TestPipeline() as p:
            stamped = p | beam.Create(["x"]) | beam.Map(lambda x: TimestampedValue(x, 5))
            logged = stamped | beam.WindowInto(FixedWindows(10)) | beam.LogElements(**arguments)
            assert_that(logged, equal_to(["x"]))
        assert capfd.readouterr().out == line + "\n"

    def test_pane_info(self, capfd):
        run(["x"], beam.LogElements(with_pane_info=True), equal_to(["x"]))
        assert capfd.readouterr().out.startswith("x, pane_info=PaneInfo(")

    def test_global_window_can_be_shown(self, capfd):
        run(["x"], beam.LogElements(with_window=True, with_timestamp=True), equal_to(["x"]))
        assert "window(start=" in capfd.readouterr().out

    def test_logs_at_a_level(self, caplog, capfd):
        with caplog.at_level(logging.INFO):
            run(["x", "%s"], beam.LogElements(level=logging.INFO, prefix="got "), equal_to(["x", "%s"]))
        assert {"got x", "got %s"} <= {record.getMessage() for record in caplog.records}
        assert capfd.readouterr().out == ""


class TestTeeAndWaitOn:
    def test_tee_gives_the_input_on_and_to_each_consumer(self):
        with TestPipeline() as p:

            def check_doubled(pcoll):
                assert_that(pcoll | beam.Map(lambda n: n * 2), equal_to([2, 4]), label="doubled")

            class Check(beam.PTransform):
                def expand(self, pcoll):
                    assert_that(pcoll, equal_to([1, 2]))

            through = p | beam.Create([1, 2]) | beam.Tee(Check(), check_doubled)
            assert_that(through, equal_to([1, 2]), label="through")

    def test_wait_on(self, tmp_path):
        marker = tmp_path / "written"

        def write(n):
            marker.write_text("x")
            return n

        def seen(n):
            return n, marker.exists()

        with TestPipeline() as p:
            written = p | "first" >> beam.Create([1]) | beam.Map(write)
            also = p | "empty" >> beam.Create([], reshuffle=False)
            later = p | "later" >> beam.Create([5, 6]) | beam.WaitOn(written, also) | beam.Map(seen)
            assert_that(later, equal_to([(5, True), (6, True)]))
