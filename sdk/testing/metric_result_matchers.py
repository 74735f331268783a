"""Matchers for the metrics of a finished run.

errors = verify_all(result.metrics().all_metrics(), [
    MetricResultMatcher(name="words", step="Split", committed=3),
    MetricResultMatcher(name="word_lengths", attempted=DistributionMatcher(sum_value=12, count_value=3)),
])
assert not errors, errors
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hornbeam.testing.matching import Description, ResultMatcher, is_matcher, value_matches

__all__ = ["DistributionMatcher", "MetricResultMatcher", "verify_all"]


class DistributionMatcher(ResultMatcher):
    """Matches a DistributionResult by those of its four numbers that are given, as values or matchers."""

    def __init__(
        self, sum_value: Any = None, count_value: Any = None, min_value: Any = None, max_value: Any = None
    ) -> None:
        self._wanted = _given(sum=sum_value, count=count_value, min=min_value, max=max_value)
        if not self._wanted:
            raise ValueError("DistributionMatcher needs at least one of sum, count, min and max")

    def _matches(self, distribution_result: Any) -> bool:
        return not self._mismatches(distribution_result)

    def describe_to(self, description: Description) -> None:
        """Write the numbers wanted."""
        description.append_text(f"DistributionResult({_shown(self._wanted)})")

    def describe_mismatch(self, distribution_result: Any, mismatch_description: Description) -> None:
        """Write the numbers that differ."""
        mismatches = self._mismatches(distribution_result)
        mismatch_description.append_text(f"was DistributionResult({_shown(mismatches)})")

    def _mismatches(self, result: Any) -> dict[str, Any]:
        found = {name: getattr(result, name, "not a distribution") for name in self._wanted}
        return {
            name: found[name]
            for name, wanted in self._wanted.items()
            if not value_matches(wanted, found[name])
        }


class MetricResultMatcher(ResultMatcher):
    """Matches a MetricResult by what is given of it: values, or matchers of them.

    `labels` must all be there; more may be. `sum_value`, `count_value`, `min_value` and `max_value` are wanted
    of a distribution, both attempted and committed.
    """

    def __init__(
        self,
        namespace: Any = None,
        name: Any = None,
        step: Any = None,
        labels: Mapping[Any, Any] | None = None,
        attempted: Any = None,
        committed: Any = None,
        sum_value: Any = None,
        count_value: Any = None,
        min_value: Any = None,
        max_value: Any = None,
    ) -> None:
        self._key = _given(namespace=namespace, name=name, step=step)
        self._labels = dict(labels or {})
        self._values = _given(attempted=attempted, committed=committed)
        if any(value is not None for value in (sum_value, count_value, min_value, max_value)):
            distribution = DistributionMatcher(sum_value, count_value, min_value, max_value)
            self._values = {"attempted": distribution, "committed": distribution} | self._values

    def _matches(self, metric_result: Any) -> bool:
        return not self._mismatches(metric_result)

    def describe_to(self, description: Description) -> None:
        """Write all that is wanted."""
        wanted = {**self._key, **({"labels": self._labels} if self._labels else {}), **self._values}
        description.append_text(f"MetricResult({_shown(wanted)})")

    def describe_mismatch(self, metric_result: Any, mismatch_description: Description) -> None:
        """Write what differs."""
        mismatch_description.append_text(f"was MetricResult({_shown(self._mismatches(metric_result))})")

    def _mismatches(self, result: Any) -> dict[str, Any]:
        key = result.key
        found = {
            "namespace": key.metric.namespace,
            "name": key.metric.name,
            "step": key.step,
            "attempted": result.attempted,
            "committed": result.committed,
        }
        wrong = {
            name: found[name]
            for name, wanted in {**self._key, **self._values}.items()
            if not value_matches(wanted, found[name])
        }
        labels = getattr(key, "labels", None) or {}
        if not all(_has_label(labels, name, value) for name, value in self._labels.items()):
            wrong["labels"] = dict(labels)
        return wrong


def verify_all(all_metrics: Iterable[Any], matchers: Iterable[ResultMatcher]) -> str:
    """An empty string when every matcher matches one of the metrics; else a text that names those that do not."""
    metrics = list(all_metrics)
    missing = [matcher for matcher in matchers if not any(matcher.matches(metric) for metric in metrics)]
    if not missing:
        return ""
    lines = ["Unable to match metrics for:"]
    lines.extend(f"  {matcher}" for matcher in missing)
    lines.append("The metrics are:")
    lines.extend(f"  {metric}" for metric in metrics)
    return "\n".join(lines)


def _has_label(labels: Mapping[Any, Any], wanted_name: Any, wanted_value: Any) -> bool:
    return any(
        value_matches(wanted_name, name) and value_matches(wanted_value, value)
        for name, value in labels.items()
    )


def _given(**wanted: Any) -> dict[str, Any]:
    return {name: value for name, value in wanted.items() if value is not None}


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value if is_matcher(value) else repr(value)}" for name, value in values.items()
    )
