"""hornbeam: the Beam model in Python, with fast local runners. `import hornbeam as beam`.

Here stands what a pipeline's author needs most; the rest is in the submodules, by Beam's names. Who imports whom:

    utils, error → coders, typehints, options, metrics → graph → pvalue, pipeline → transforms → io → testing
    graph → runners.planner → runners.engine → runners.direct → cli          storage stands alone

To change what a transform means to its author, open `transforms`; what a runner does with it, `runners.engine`.
"""

from __future__ import annotations

import importlib
from typing import Any

from hornbeam import coders, error, io, metrics, options, pvalue, transforms, typehints
from hornbeam.coders import RowCoder
from hornbeam.pipeline import Pipeline, transform_annotations
from hornbeam.pvalue import PCollection, Row, TaggedOutput
from hornbeam.transforms import *
from hornbeam.typehints.schemas import named_fields_to_schema, named_tuple_from_schema, named_tuple_to_schema
from hornbeam.version import __version__

_LAZY_MODULES = ("runners", "testing")

__all__ = [
    "ApproximateQuantiles",
    "ApproximateUnique",
    "BatchElements",
    "CoGroupByKey",
    "CombineFn",
    "CombineGlobally",
    "CombinePerKey",
    "CombineValues",
    "Create",
    "Distinct",
    "DoFn",
    "Filter",
    "FlatMap",
    "FlatMapTuple",
    "Flatten",
    "FlattenWith",
    "GroupBy",
    "GroupByEncryptedKey",
    "GroupByKey",
    "GroupIntoBatches",
    "Impulse",
    "Keys",
    "KvSwap",
    "LogElements",
    "Map",
    "MapTuple",
    "PCollection",
    "PTransform",
    "ParDo",
    "Partition",
    "PartitionFn",
    "Pipeline",
    "Regex",
    "Reify",
    "RemoveDuplicates",
    "Reshuffle",
    "RestrictionProvider",
    "Row",
    "RowCoder",
    "Secret",
    "Select",
    "SortAndBatchElements",
    "TaggedOutput",
    "Tee",
    "TimeDomain",
    "ToString",
    "Values",
    "WaitOn",
    "WatermarkEstimatorProvider",
    "WindowInto",
    "Windowing",
    "WithKeys",
    "WithTimestamps",
    "WithTypeHints",
    "__version__",
    "annotate_yaml",
    "coders",
    "combiners",
    "core",
    "error",
    "error_handling",
    "io",
    "label_from_callable",
    "metrics",
    "named_fields_to_schema",
    "named_tuple_from_schema",
    "named_tuple_to_schema",
    "options",
    "ptransform_fn",
    "pvalue",
    "transform_annotations",
    "transforms",
    "trigger",
    "typehints",
    "userstate",
    "util",
    "window",
]


def __getattr__(name: str) -> Any:
    # Runners and the testing tools load when first used: building a pipeline needs neither.
    if name in _LAZY_MODULES:
        return importlib.import_module(f"hornbeam.{name}")
    raise AttributeError(f"module 'hornbeam' has no attribute {name!r}")
