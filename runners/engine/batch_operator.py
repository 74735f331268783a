"""Batch-aware DoFns: process_batch gets the elements of a chunk at once, as a list or a numpy array.

A batch holds elements of one timestamp, one set of windows and one pane only, as Beam's batches do, so that outputs can
have the metadata of their batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.calling import bind
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.failures import note_failure, stopped_iteration
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.transforms.signature import DoFnSignature


def batch_maker(batch_type: Any) -> Callable[[list[Any]], Any]:
    """How a list of elements becomes a batch of the declared type: a numpy array, or a list."""
    origin = getattr(batch_type, "__origin__", batch_type)
    if origin is np.ndarray:
        return np.array
    return list


class BatchOperator(DoFnOperator):
    """A ParDo over a DoFn with process_batch."""

    def prepare_dofn(
        self,
        signature: DoFnSignature,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        side_inputs: Mapping[str, SideInputReader],
    ) -> None:
        super().prepare_dofn(signature, args, kwargs, side_inputs)
        method = signature.process_batch
        assert method is not None
        self.call = bind(method, args, kwargs, side_inputs, provided=self._provided)
        self._make_batch = batch_maker(signature.dofn.get_input_batch_type(Any))
        self._gives_elements = bool(getattr(signature.dofn.process_batch, "_yields_elements", False))

    def _process(self, bundle: Bundle) -> None:
        for part in alike(bundle):
            try:
                batch = part.with_values([self._make_batch(part.values)])
                results = list(self.call.over(iter(batch.values), batch))
                if not results:
                    raise stopped_iteration()
                for produced in results:
                    self._send_batches(produced, part)
            except BaseException as error:
                note_failure(error, self.label, part, 0)
                raise

    def _send_batches(self, produced: Any, part: Bundle) -> None:
        for output in produced if produced is not None else ():
            if self._gives_elements:
                self.outputs.send(part.repeat([output], [1, *[0] * (len(part) - 1)]))
                continue
            values = output.tolist() if isinstance(output, np.ndarray) and output.ndim == 1 else list(output)
            for start in range(0, len(values), CHUNK):
                chunk = values[start : start + CHUNK]
                self.outputs.send(Bundle(chunk, part.timestamps, part.windows, part.panes))


def alike(bundle: Bundle) -> Iterator[Bundle]:
    """The bundle cut into bundles whose elements share all metadata."""
    if bundle.is_uniform:
        yield bundle
        return
    groups: dict[Any, list[Any]] = {}
    for value, *metadata in zip(
        bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list()
    ):
        groups.setdefault(tuple(metadata), []).append(value)
    for (timestamp, windows, pane), values in groups.items():
        yield Bundle(values, timestamp, windows, pane)
