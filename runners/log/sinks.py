"""Two-phase sinks: what is written since a checkpoint becomes visible with the next one, once and in order.

    process ─► staged ─► prepare(checkpoint), at the cut ─► settle, in the background ─► token in the manifest
                                                                             published ─► commit(token)

A two-phase sink is a ParDo whose DoFn has `prepare`, `commit` and `abort`. Prepare and settle are called in the
workers, commit and abort in the coordinator, on a copy of the DoFn that was never set up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloudpickle

from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.failures import naming
from hornbeam.runners.log.task import Task

#: (label of the sink's step, what `settle` or `prepare` gave).
Token = tuple[str, Any]


def is_two_phase(dofn: Any) -> bool:
    """Whether a DoFn is a two-phase sink."""
    return all(callable(getattr(dofn, name, None)) for name in ("prepare", "commit", "abort"))


def sinks_of(graph: Graph) -> dict[str, Any]:
    """The two-phase sinks of a graph, by the label of their step, to commit with."""
    found: dict[str, Any] = {}
    for _, transform in graph.leaves():
        if transform.urn == urns.PARDO and transform.payload:
            dofn = getattr(cloudpickle.loads(transform.payload), "dofn", None)
            dofn = getattr(dofn, "dofn", dofn)
            if is_two_phase(dofn):
                found[transform.label] = dofn
    return found


class Sinks:
    """The two-phase sinks of one task."""

    def __init__(self, task: Task) -> None:
        self._dofns: dict[str, Any] = {
            operator.label: operator.signature.dofn
            for stage in task.stages.values()
            for operator in stage.operators.values()
            if isinstance(operator, DoFnOperator) and is_two_phase(operator.signature.dofn)
        }

    def begin(self) -> None:
        """Says to each, once it is set up, that its writes are committed by checkpoints."""
        for label, dofn in self._dofns.items():
            if hasattr(dofn, "begin_two_phase"):
                with naming(f"{label}, begin_two_phase"):
                    dofn.begin_two_phase()

    def prepare(self, checkpoint: int) -> list[Callable[[], Token]]:
        """At the cut: what completes each sink's token in the background."""
        found: list[Callable[[], Token]] = []
        for label, dofn in self._dofns.items():
            with naming(f"{label}, prepare"):
                token = dofn.prepare(checkpoint)
            if token is not None:
                found.append(_Settling(label, dofn, token))
        return found


class _Settling:
    """Completes a token, off the main thread."""

    def __init__(self, label: str, dofn: Any, token: Any) -> None:
        self._label = label
        self._dofn = dofn
        self._token = token

    def __call__(self) -> Token:
        settle = getattr(self._dofn, "settle", None)
        if settle is None:
            return self._label, self._token
        with naming(f"{self._label}, settle"):
            return self._label, settle(self._token)
