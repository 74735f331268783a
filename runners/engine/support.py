"""What the engine does not have yet, found in the plan before anything runs, so that no step has had its effects in vain."""

from __future__ import annotations

from hornbeam.error import NotSupportedError
from hornbeam.graph import urns
from hornbeam.runners.planner.plan import Plan


def refuse_unsupported(plan: Plan) -> None:
    """NotSupportedError for the first step that asks for what is missing."""
    for step in plan.steps.values():
        if step.urn == urns.TEST_STREAM:
            raise NotSupportedError(
                f"step {step.label!r} is a TestStream, which this version's runners do not have yet"
            )
