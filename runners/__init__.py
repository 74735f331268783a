"""Runners: what executes a Graph.

May import: graph, the specs in transforms, metrics, options, utils, coders. Nothing of the authoring side imports it,
but `Pipeline.run`, which loads a runner by name. Inside: planner → engine → direct, multiprocess, log; the latter two are
built on processes.
To change how a graph is cut into stages, open `planner`; what a step does to elements, `engine`; how a run on this
process is driven, `direct`; on many processes, `multiprocess`; as a durable job, `log`; where worker processes come from,
`processes`; how a runner is found by name, `runner`.
"""

from __future__ import annotations

import importlib
from typing import Any

from hornbeam.runners.runner import PipelineResult, PipelineRunner, PipelineState, create_runner

_DIRECT_NAMES = ("BundleBasedDirectRunner", "DirectRunner", "SwitchingDirectRunner", "TestDirectRunner")

__all__ = [
    "BundleBasedDirectRunner",
    "DirectRunner",
    "MultiProcessRunner",
    "PipelineResult",
    "PipelineRunner",
    "PipelineState",
    "SwitchingDirectRunner",
    "TestDirectRunner",
    "create_runner",
]


def __getattr__(name: str) -> Any:
    # The engine loads numpy; who only builds pipelines does not wait for it.
    if name in _DIRECT_NAMES:
        return getattr(importlib.import_module("hornbeam.runners.direct.direct_runner"), name)
    if name == "MultiProcessRunner":
        return getattr(importlib.import_module("hornbeam.runners.multiprocess.multiprocess_runner"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
