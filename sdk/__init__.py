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
from hornbeam.pipeline import Pipeline, transform_annotations
from hornbeam.pvalue import PCollection, Row, TaggedOutput
from hornbeam.transforms import *  # noqa: F403
from hornbeam.transforms import __all__ as _transforms
from hornbeam.version import __version__

_LAZY_MODULES = ("runners", "testing")

__all__ = [
    "PCollection",
    "Pipeline",
    "Row",
    "TaggedOutput",
    "__version__",
    "coders",
    "error",
    "io",
    "metrics",
    "options",
    "pvalue",
    "transform_annotations",
    "transforms",
    "typehints",
]
__all__ += _transforms


def __getattr__(name: str) -> Any:
    # Runners and the testing tools load when first used: building a pipeline needs neither.
    if name in _LAZY_MODULES:
        return importlib.import_module(f"hornbeam.{name}")
    raise AttributeError(f"module 'hornbeam' has no attribute {name!r}")
