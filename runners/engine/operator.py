"""A step of a stage at work: it takes bundles and hands bundles to the steps behind it.

Life of an operator: setup, then for each bundle of the stage start_bundle, process (once for each chunk of elements)
and finish_bundle, then teardown. Whatever runs user code makes the step's metrics container the current one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.bundle import Bundle

Receiver = Callable[[Bundle], None]


def discard(bundle: Bundle) -> None:
    """The receiver of an output that nothing reads."""


def fan_out(receivers: list[Receiver]) -> Receiver:
    """One receiver that hands each bundle to all."""
    if not receivers:
        return discard
    if len(receivers) == 1:
        return receivers[0]

    def send(bundle: Bundle) -> None:
        for receive in receivers:
            receive(bundle)

    return send


class Operator:
    """A step at work. Subclasses define `process` and send results to `self.emit` (the output `out`) or by tag."""

    def __init__(
        self, label: str, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
    ) -> None:
        self.label = label
        self.container = container
        self.receivers = receivers
        self.emit: Receiver = receivers.get("out", discard)

    def process(self, bundle: Bundle) -> None:
        """Takes elements. Bundles are never empty."""
        raise NotImplementedError(f"{type(self).__name__} has no process")

    def setup(self) -> None:
        """Once, before everything."""

    def start_bundle(self) -> None:
        """Before the first elements of a bundle."""

    def finish_input(self) -> None:
        """After the last element of a bounded input: gives out what waits for the end of time; may emit."""

    def finish_bundle(self) -> None:
        """After the last elements of a bundle; may still emit."""

    def take_finalizers(self) -> list[Callable[[], None]]:
        """What `commit` would call; for a driver to which the bundles so far become durable later."""
        return []

    def commit(self) -> None:
        """What the bundle that ended last gave is durable; after the finish_bundle of every step."""

    def teardown(self) -> None:
        """Once, after everything, also after a failure."""
