"""The library of combiners under Beam's module path; each lives in the module its import names."""

from __future__ import annotations

from hornbeam.transforms.collecting import (
    ToDict,
    ToDictCombineFn,
    ToList,
    ToListCombineFn,
    ToSet,
    ToSetCombineFn,
)
from hornbeam.transforms.counting import Count, CountCombineFn, Mean, MeanCombineFn
from hornbeam.transforms.defaults import CombinerWithoutDefaults
from hornbeam.transforms.latest import Latest, LatestCombineFn
from hornbeam.transforms.sample import AnyCombineFn, Sample, SampleCombineFn
from hornbeam.transforms.top import Largest, Smallest, Top, TopCombineFn
from hornbeam.transforms.tuple_combine import SingleInputTupleCombineFn, TupleCombineFn, curry_combine_fn

__all__ = [
    "AnyCombineFn",
    "CombinerWithoutDefaults",
    "Count",
    "CountCombineFn",
    "Largest",
    "Latest",
    "LatestCombineFn",
    "Mean",
    "MeanCombineFn",
    "Sample",
    "SampleCombineFn",
    "SingleInputTupleCombineFn",
    "Smallest",
    "ToDict",
    "ToDictCombineFn",
    "ToList",
    "ToListCombineFn",
    "ToSet",
    "ToSetCombineFn",
    "Top",
    "TopCombineFn",
    "TupleCombineFn",
    "curry_combine_fn",
]
