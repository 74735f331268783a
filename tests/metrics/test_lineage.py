"""Lineage: qualified names, and what a run reports."""

from __future__ import annotations

import pytest

from hornbeam.metrics.execution import MetricsRegistry, set_current
from hornbeam.metrics.metric import Lineage


@pytest.mark.parametrize(
    ("parts", "subtype", "expected"),
    [
        (("system", "a"), None, "system:a"),
        (("system", "a", "b", "c"), None, "system:a.b.c"),
        (("system", "a.b", "c"), None, "system:`a.b`.c"),
        (("system", "a b", "c:d"), None, "system:`a b`.`c:d`"),
        (("system", "`a.b`"), None, "system:`a.b`"),
        (("system", "a", "b"), "topic", "system:topic:a.b"),
    ],
)
def test_qualified_names(parts: tuple[str, ...], subtype: str | None, expected: str) -> None:
    assert Lineage.get_fq_name(*parts, subtype=subtype) == expected


def test_reported_names_are_found_in_the_results() -> None:
    registry = MetricsRegistry()
    previous = set_current(registry.container("Read"))
    try:
        Lineage.sources().add("gcs", "bucket", "a/b/c.txt", last_segment_sep="/")
        Lineage.sources().add("db", "p", "d.x", subtype="table")
        Lineage.sinks().add("gcs", "out", "dir")
    finally:
        set_current(previous)
    registry.commit()
    results = registry.results()
    assert Lineage.query(results, Lineage.SOURCE) == {
        "gcs:bucket.`a/b/c.txt`",
        "db:table:p.`d.x`",
    }
    assert Lineage.query(results, Lineage.SINK) == {"gcs:out.dir"}


def test_many_names_are_rolled_up_to_prefixes() -> None:
    registry = MetricsRegistry()
    previous = set_current(registry.container("Read"))
    try:
        for number in range(300):
            Lineage.sources().add("fs", "bucket", f"folder/file{number}", last_segment_sep="/")
    finally:
        set_current(previous)
    names = Lineage.query(registry.results(), Lineage.SOURCE)
    assert names == {"fs:bucket.folder/*"}
