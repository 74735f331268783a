"""Display data and resource hints: what a step says of itself and asks of machines."""

from __future__ import annotations

import datetime

import pytest

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.display import DisplayData, DisplayDataItem, HasDisplayData
from hornbeam.transforms.resources import (
    MinRamHint,
    ResourceHint,
    merge_resource_hints,
    parse_resource_hints,
    resource_hints_from_options,
)

RAM = "beam:resources:min_ram_bytes:v1"
CPU = "beam:resources:cpu_count:v1"
BUNDLES = "beam:resources:max_active_bundles_per_worker:v1"
ACCELERATOR = "beam:resources:accelerator:v1"


class Part(HasDisplayData):
    def display_data(self):
        return {"size": 3}


class Shown(beam.DoFn):
    def display_data(self):
        return {
            "name": "king",
            "limit": DisplayDataItem(7, label="The limit", url="https://example.org"),
            "default": DisplayDataItem(1).drop_if_default(1),
            "missing": DisplayDataItem(None).drop_if_none(),
            "part": Part(),
        }

    def process(self, element):
        yield element


def test_items_of_a_component_and_of_its_parts():
    data = DisplayData.create_from(Shown())
    namespace = f"{__name__}.Shown"
    assert [item.get_dict() for item in data.items] == [
        {"key": "name", "namespace": namespace, "type": "STRING", "value": "king"},
        {
            "key": "limit",
            "namespace": namespace,
            "type": "INTEGER",
            "value": 7,
            "label": "The limit",
            "url": "https://example.org",
        },
        {"key": "size", "namespace": f"{__name__}.Part", "type": "INTEGER", "value": 3},
    ]
    assert DisplayData.create_from(Part(), {"more": True}).to_proto()[1]["value"] is True
    with pytest.raises(ValueError, match="needs a HasDisplayData; str is none"):
        DisplayData.create_from("text")


@pytest.mark.parametrize(
    ("value", "type_", "shown"),
    [
        (1.5, "FLOAT", 1.5),
        (True, "BOOLEAN", True),
        (datetime.timedelta(seconds=2), "DURATION", 2000.0),
        (datetime.datetime(1970, 1, 1, 0, 0, 1), "TIMESTAMP", 1000),
        (Part, "CLASS", f"{__name__}.Part"),
    ],
)
def test_types_of_items(value, type_, shown):
    item = DisplayDataItem(value, key="k", namespace="n")
    assert (item.get_dict()["type"], item.get_dict()["value"]) == (type_, shown)


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (DisplayDataItem(1, namespace="n"), "has no key"),
        (DisplayDataItem(1, key="k"), "has no namespace"),
        (DisplayDataItem(None, key="k", namespace="n"), "drop_if_none"),
        (DisplayDataItem([1], key="k", namespace="n"), "must be a str, int"),
    ],
)
def test_items_that_cannot_be_shown(item, problem):
    with pytest.raises(ValueError, match=problem):
        item.get_dict()


def test_items_in_the_graph():
    p = beam.Pipeline(display_data={"team": "words"})
    p | beam.Create([1]) | beam.ParDo(Shown())
    step = next(t for t in p.to_graph().transforms.values() if t.label == "ParDo(Shown)")
    assert {"fn", "name", "limit", "size"} == {item["key"] for item in step.display_data}
    assert p.display_data() == {"team": "words"}


def test_items_of_options():
    data = DisplayData.create_from_options(PipelineOptions(["--job_name=words"]))
    assert any(item.key == "job_name" and item.value == "words" for item in data.items)


@pytest.mark.parametrize(
    ("hints", "parsed"),
    [
        ({"min_ram": "16GB"}, {RAM: b"16000000000"}),
        ({"minRam": "1.5 GiB"}, {RAM: b"1610612736"}),
        ({"min_ram": 1000}, {RAM: b"1000"}),
        ({"cpu_count": 4}, {CPU: b"4"}),
        ({"accelerator": "type:t4;count:1"}, {ACCELERATOR: b"type:t4;count:1"}),
        ({"max_active_bundles_per_worker": 2, "min_ram": ""}, {BUNDLES: b"2"}),
    ],
)
def test_parsing_hints(hints, parsed):
    assert parse_resource_hints(hints) == parsed


def test_wrong_hints():
    with pytest.raises(ValueError, match="Unknown resource hint 'min_rom'; there are accelerator"):
        beam.Map(str).with_resource_hints(min_rom="1GB")
    with pytest.raises(ValueError, match="must be a size such as '16GB'"):
        beam.Map(str).with_resource_hints(min_ram="much")


def test_merging_hints():
    outer = {RAM: b"5", CPU: b"1", BUNDLES: b"4", ACCELERATOR: b"outer"}
    inner = {RAM: b"3", CPU: b"2", BUNDLES: b"9", ACCELERATOR: b"inner"}
    assert merge_resource_hints(outer, inner) == {RAM: b"5", CPU: b"2", BUNDLES: b"4", ACCELERATOR: b"inner"}
    assert merge_resource_hints(outer, {}) == outer


def test_hints_of_composites_and_options_hold_inside():
    class Outer(beam.PTransform):
        def expand(self, pcoll):
            return pcoll | beam.Map(str).with_resource_hints(min_ram="2GB", cpu_count=2)

    p = beam.Pipeline(options=PipelineOptions(["--resource_hint=min_ram=1GB"]))
    numbers = p | beam.Create([1])
    numbers | Outer().with_resource_hints(min_ram="4GB")
    steps = {t.label: dict(t.resource_hints) for t in p.to_graph().transforms.values()}
    assert steps["Create"] == {RAM: b"1000000000"}
    assert steps["Outer"] == {RAM: b"4000000000"}
    assert steps["Outer/Map(str)"] == {RAM: b"4000000000", CPU: b"2"}


def test_hints_of_a_pardo_with_outputs_or_exception_handling():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    numbers | "Outputs" >> beam.ParDo(lambda x: [x]).with_resource_hints(cpu_count=2).with_outputs("a")
    numbers | "Guarded" >> beam.Map(str).with_resource_hints(cpu_count=3).with_exception_handling()
    steps = {t.label: dict(t.resource_hints) for t in p.to_graph().transforms.values()}
    assert steps["Outputs"] == {CPU: b"2"}
    assert steps["Guarded/Guarded"] == {CPU: b"3"}


def test_hints_of_options_need_a_name():
    with pytest.raises(ValueError, match="needs name=value"):
        resource_hints_from_options(PipelineOptions(["--resource_hint=large"]))
    assert resource_hints_from_options(None) == {}


def test_kinds_of_hints_are_found_and_registered_once():
    assert ResourceHint.get_by_name("min_ram") is ResourceHint.get_by_urn(RAM) is MinRamHint
    assert ResourceHint.is_registered("cpuCount") and not ResourceHint.is_registered("x")

    class Other(ResourceHint):
        urn = RAM

    with pytest.raises(ValueError, match="already registered"):
        ResourceHint.register_resource_hint("other_ram", Other)
