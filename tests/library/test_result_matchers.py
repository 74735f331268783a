"""Matchers for metrics and results, with values and with matchers inside."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from hornbeam.testing.matching import TextDescription
from hornbeam.testing.metric_result_matchers import DistributionMatcher, MetricResultMatcher, verify_all
from hornbeam.testing.pipeline_verifiers import (
    FileChecksumMatcher,
    PipelineStateMatcher,
    retry_on_io_error_and_server_error,
)
from hornbeam.testing.test_utils import compute_hash


class AtLeast:
    def __init__(self, least):
        self.least = least

    def matches(self, value):
        return value >= self.least

    def __str__(self):
        return f"at least {self.least}"


def metric(name="words", step="Split", attempted=3, committed=3, labels=None):
    key = SimpleNamespace(metric=SimpleNamespace(namespace="ns", name=name), step=step, labels=labels or {})
    return SimpleNamespace(key=key, attempted=attempted, committed=committed)


DISTRIBUTION = SimpleNamespace(sum=10, count=2, min=4, max=6)


@pytest.mark.parametrize(
    "matcher, matches",
    [
        (MetricResultMatcher(), True),
        (MetricResultMatcher(name="words", namespace="ns", step="Split", attempted=3, committed=3), True),
        (MetricResultMatcher(name="lines"), False),
        (MetricResultMatcher(namespace="other"), False),
        (MetricResultMatcher(committed=AtLeast(3)), True),
        (MetricResultMatcher(committed=AtLeast(4)), False),
        (MetricResultMatcher(committed=0), False),
        (MetricResultMatcher(labels={"k": "v"}), True),
        (MetricResultMatcher(labels={"k": "w"}), False),
        (MetricResultMatcher(sum_value=3), False),
    ],
)
def test_counters(matcher, matches):
    assert matcher.matches(metric(labels={"k": "v", "j": "u"})) is matches


@pytest.mark.parametrize(
    "wanted, matches",
    [
        ({"sum_value": 10, "count_value": 2, "min_value": 4, "max_value": 6}, True),
        ({"sum_value": AtLeast(9)}, True),
        ({"min_value": 5}, False),
    ],
)
def test_distributions(wanted, matches):
    result = metric(attempted=DISTRIBUTION, committed=DISTRIBUTION)
    assert DistributionMatcher(**wanted).matches(DISTRIBUTION) is matches
    assert MetricResultMatcher(**wanted).matches(result) is matches
    assert MetricResultMatcher(committed=DistributionMatcher(**wanted)).matches(result) is matches


def test_a_distribution_matcher_wants_something():
    with pytest.raises(ValueError, match="at least one"):
        DistributionMatcher()


def test_verify_all():
    metrics = [metric(), metric("lines", committed=1)]
    assert verify_all(metrics, [MetricResultMatcher(name="lines", committed=1), MetricResultMatcher()]) == ""
    errors = verify_all(metrics, [MetricResultMatcher(name="lines", committed=AtLeast(2))])
    assert "Unable to match" in errors
    assert "name='lines', committed=at least 2" in errors


def test_mismatches_are_described():
    description = TextDescription()
    assert not MetricResultMatcher(name="lines", committed=4).matches(metric(), description)
    assert str(description) == "was MetricResult(name='words', committed=3)"


def test_pipeline_state():
    matcher = PipelineStateMatcher()
    assert matcher.matches(SimpleNamespace(state="DONE"))
    failed, description = SimpleNamespace(state="FAILED"), TextDescription()
    assert not matcher.matches(failed, description)
    assert str(description) == "its state was FAILED"
    assert PipelineStateMatcher("FAILED").matches(failed)


def test_file_checksum(tmp_path):
    (tmp_path / "out-0").write_text("b\na\n")
    (tmp_path / "out-1").write_text("c\n")
    pattern = str(tmp_path / "out-*")
    assert FileChecksumMatcher(pattern, compute_hash(["a", "b", "c"])).matches(None)
    wrong, description = FileChecksumMatcher(pattern, "0"), TextDescription()
    assert not wrong.matches(None, description)
    assert compute_hash(["c", "b", "a"]) in str(description)
    with pytest.raises(ValueError, match="sleep_secs"):
        FileChecksumMatcher(pattern, "0", sleep_secs="1")


def test_missing_files_are_looked_for_and_then_reported(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr("time.sleep", waits.append)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        FileChecksumMatcher(str(tmp_path / "none"), "0").matches(None)
    assert len(waits) == 3
    assert retry_on_io_error_and_server_error(FileNotFoundError())
    assert not retry_on_io_error_and_server_error(ValueError())
