"""Very wide pipelines, once on each runner: under every mode they would only take time."""

from __future__ import annotations

import pytest
from model.table import Case, check

import hornbeam as beam


@pytest.mark.parametrize("branches", [1000])
def test_a_thousand_branches_flattened(runner_options, tmp_path, branches):
    def build(p):
        numbers = p | beam.Create([1, 2])
        fan = [numbers | f"branch {i}" >> beam.Map(lambda x, i=i: x * i) for i in range(branches)]
        return fan | beam.Flatten() | beam.CombineGlobally(sum)

    check(Case("branches", build, {"out": [3 * sum(range(branches))]}), runner_options, tmp_path)


def test_a_hundred_groupings_side_by_side(runner_options, tmp_path):
    def build(p):
        pairs = p | beam.Create([("a", 1), ("a", 2)])
        fan = [pairs | f"sum {i}" >> beam.CombinePerKey(sum) for i in range(100)]
        return fan | beam.Flatten() | beam.CombinePerKey(sum)

    check(Case("groupings", build, {"out": [("a", 300)]}), runner_options, tmp_path)
