"""Beam's core transforms under Beam's module path; each is defined in a file of its own."""

from __future__ import annotations

from hornbeam.pvalue import PCollection, TaggedOutput
from hornbeam.transforms.combine import (
    CombineGlobally,
    CombinePayload,
    CombinePerKey,
    CombineValues,
)
from hornbeam.transforms.combinefn import CallableWrapperCombineFn, CombineFn
from hornbeam.transforms.create import Create, Impulse
from hornbeam.transforms.dofn import (
    CallableDoFn,
    DoFn,
    RestrictionProvider,
    WatermarkEstimatorProvider,
)
from hornbeam.transforms.exception_handling import GuardedParDo
from hornbeam.transforms.flatten import Flatten, FlattenWith
from hornbeam.transforms.group import GroupByKey
from hornbeam.transforms.group_by import GroupBy
from hornbeam.transforms.immediate import run_on_values
from hornbeam.transforms.pardo import (
    DoFnPayload,
    Filter,
    FlatMap,
    FlatMapTuple,
    Map,
    MapTuple,
    ParDo,
    WithTimestamps,
)
from hornbeam.transforms.partition import Partition, PartitionFn
from hornbeam.transforms.ptransform import PTransform, PTransformWithSideInputs
from hornbeam.transforms.select import Select
from hornbeam.transforms.window_into import WindowInto
from hornbeam.transforms.windowing import ClosingBehavior, OnTimeBehavior, Windowing

__all__ = [
    "CallableDoFn",
    "CallableWrapperCombineFn",
    "ClosingBehavior",
    "CombineFn",
    "CombineGlobally",
    "CombinePayload",
    "CombinePerKey",
    "CombineValues",
    "Create",
    "DoFn",
    "DoFnPayload",
    "Filter",
    "FlatMap",
    "FlatMapTuple",
    "Flatten",
    "FlattenWith",
    "GroupBy",
    "GroupByKey",
    "GuardedParDo",
    "Impulse",
    "Map",
    "MapTuple",
    "OnTimeBehavior",
    "PCollection",
    "PTransform",
    "PTransformWithSideInputs",
    "ParDo",
    "Partition",
    "PartitionFn",
    "RestrictionProvider",
    "Select",
    "TaggedOutput",
    "WatermarkEstimatorProvider",
    "WindowInto",
    "Windowing",
    "WithTimestamps",
    "run_on_values",
]
