"""A bounded plan run in this process: stage after stage, each driven from its heads to its end.

    heads of a stage: roots (impulse, read) │ groupings filled by earlier stages │ spooled pcollections
    each head's chunks ── feed ──► the operators of the stage ──► groupings and spools of later stages

Chunks are passed on as they are made, so a stage holds no more than its groupings and spools, which go to disk past
the memory limit. A bundle (what start_bundle and finish_bundle enclose) is `bundle_size` elements, or a great many.
"""

from __future__ import annotations

from collections.abc import Iterator

from hornbeam.metrics.execution import MetricsContainer, MetricsRegistry
from hornbeam.runners.direct.progress import Progress
from hornbeam.runners.engine.build import Grouping, StageBuilder, late_entry
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS
from hornbeam.runners.engine.failures import naming
from hornbeam.runners.engine.lifecycle import Lifecycle
from hornbeam.runners.engine.sources import read_root
from hornbeam.runners.engine.spill import Spool, TemporarySpace
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.planner.plan import GROUPING_URNS, ROOT_URNS, Plan, Stage

#: Elements after which a bundle ends when no size is given.
BUNDLE_ELEMENTS = 1 << 20


class Execution:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        space: TemporarySpace,
        memory_bytes_max: int,
        bundle_size: int,
        registry: MetricsRegistry,
        progress: Progress,
    ) -> None:
        self.plan = plan
        self.space = space
        self.memory_bytes_max = memory_bytes_max
        self._bundle_size = bundle_size
        self._registry = registry
        self._progress = progress
        self._groupings: dict[str, Grouping] = {}
        self._spools: dict[str, Spool] = {}
        self._builder = StageBuilder(plan, self)

    # What the builder asks for

    def container(self, step_label: str) -> MetricsContainer:
        """The metrics of a step."""
        return self._registry.container(step_label)

    def spool(self, pcollection: str) -> Spool:
        """The spool of a pcollection that is kept whole."""
        found = self._spools.get(pcollection)
        if found is None:
            found = self._spools[pcollection] = Spool(
                self.space, self.memory_bytes_max, pcollection.replace("/", "-")
            )
        return found

    def grouping(self, step: str) -> Grouping:
        """The grouping of a step, made and set up when first asked for."""
        found = self._groupings.get(step)
        if found is None:
            found = self._groupings[step] = self._builder.grouping_operator(
                self.plan.steps[step], bounded=True
            )
            with naming(f"{found.spec.label}, setup"):
                found.spec.folding.setup()
        return found

    # The run

    def run(self) -> None:
        """Runs all stages; raises what user code raised."""
        last_use = self._last_uses()
        try:
            for index, stage in enumerate(self.plan.stages):
                self._progress.stage(index, len(self.plan.stages), self.plan.steps[stage.steps[0]].label)
                StageRun(self, stage, self._builder, self._registry, self._progress, self._bundle_size).run()
                for pc in [pc for pc, last in last_use.items() if last == index]:
                    self._spools.pop(pc, None)
        finally:
            self._registry.rollback()  # nothing is pending but what a failed bundle counted
            for grouping in self._groupings.values():
                with naming(f"{grouping.spec.label}, teardown"):
                    grouping.spec.folding.teardown()

    def _last_uses(self) -> dict[str, int]:
        """For each spooled pcollection, the index of the last stage that reads it."""
        last: dict[str, int] = {}
        for index, stage in enumerate(self.plan.stages):
            for id_ in stage.steps:
                for pc in self.plan.steps[id_].inputs.values():
                    if pc in self.plan.spooled:
                        last[pc] = index
        return last

    def release_grouping(self, step: str) -> None:
        """Forgets a grouping that has fired for the last time."""
        grouping = self._groupings.pop(step, None)
        if grouping is not None:
            with naming(f"{grouping.spec.label}, teardown"):
                grouping.spec.folding.teardown()


class StageRun:
    """One stage, driven to its end."""

    def __init__(
        self,
        execution: Execution,
        stage: Stage,
        builder: StageBuilder,
        registry: MetricsRegistry,
        progress: Progress,
        bundle_size: int,
    ) -> None:
        self._execution = execution
        self._stage = stage
        self._registry = registry
        self._progress = progress
        self._bundle_max = bundle_size or BUNDLE_ELEMENTS
        self._chunk = min(CHUNK, bundle_size) if bundle_size else CHUNK
        built = builder.build(stage)
        self._life = Lifecycle(built.operators)
        self._entries = built.entries

    def run(self) -> None:
        """Feeds the stage from each of its heads, then ends its last bundle."""
        failed = True
        try:
            for id_, head in self._heads():
                process = self._entries[id_]
                for bundle in head:
                    for chunk in bundle.chunks(self._chunk):
                        self._life.begin()
                        process(chunk)
                        self._life.in_bundle += len(chunk)
                        self._progress.elements(len(chunk))
                        if self._life.in_bundle >= self._bundle_max:
                            self._end_bundle()
                if id_ in self._execution.plan.steps and self._execution.plan.steps[id_].urn in GROUPING_URNS:
                    self._execution.release_grouping(id_)
            self._life.finish_input()
            self._end_bundle()
            failed = False
        finally:
            self._life.tear_down(failed)

    def _heads(self) -> Iterator[tuple[str, Iterator[Bundle]]]:
        """Where the stage's elements come from, by the step that they are given to."""
        execution, plan = self._execution, self._execution.plan
        own = {pc for id_ in self._stage.steps for pc in plan.steps[id_].outputs.values()}
        for id_ in self._stage.steps:
            step = plan.steps[id_]
            if step.urn in ROOT_URNS:
                yield id_, read_root(step, execution.container(step.label), self._chunk)
            elif step.urn in GROUPING_URNS:
                grouping = execution.grouping(id_)
                yield id_, grouping.fire(END_OF_TIME_MICROS)
                if isinstance(grouping, TriggeredGrouping) and grouping.late_tag is not None:
                    yield late_entry(id_), grouping.late()
            else:
                for pc in step.main_inputs().values():
                    if pc not in own:
                        yield id_, iter(execution.spool(pc))

    def _end_bundle(self) -> None:
        if self._life.finish_bundle():
            self._registry.commit()
            self._life.commit()
