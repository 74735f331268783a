"""What the engine does not have yet, found in the plan before anything runs, so that no step has had its effects in vain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hornbeam.error import NotSupportedError
from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.runners.planner.plan import GROUPING_URNS, Plan


def refuse_unsupported(plan: Plan) -> None:
    """NotSupportedError for the first step that asks for what is missing."""
    for step in plan.steps.values():
        if step.urn == urns.PARDO and (step.spec.get("stateful") or step.spec.get("timers")):
            raise NotSupportedError(
                f"step {step.label!r} uses state or timers, which this version's runners do not have yet"
            )
        if step.urn == urns.READ and not step.spec.get("bounded", True):
            raise NotSupportedError(
                f"step {step.label!r} reads an unbounded source, which this version's runners do not have yet"
            )
        if step.urn == urns.TEST_STREAM:
            raise NotSupportedError(
                f"step {step.label!r} is a TestStream, which this version's runners do not have yet"
            )
        if step.urn in GROUPING_URNS or step.urn == urns.COMBINE_PRECOMBINE:
            _refuse_trigger(plan, step)


def _refuse_trigger(plan: Plan, step: Transform) -> None:
    """Bounded data fires once, when its window ends; a trigger that would fire otherwise is refused."""
    source = next(iter(step.main_inputs().values()))
    trigger = plan.graph.windowings[plan.graph.pcollections[source].windowing].trigger
    if not fires_once(trigger):
        raise NotSupportedError(
            f"step {step.label!r} groups under the trigger {trigger.get('type')!r}; this version's runners fire windows "
            "once, when they end (DefaultTrigger, or AfterWatermark without early firings)"
        )


def fires_once(trigger: Mapping[str, Any]) -> bool:
    """Whether on bounded data, none of which is late, the trigger fires each window once, when it ends."""
    while trigger.get("type") == "repeatedly":
        trigger = trigger["underlying"]
    return trigger.get("type") in ("default", "after_watermark") and not trigger.get("early")
