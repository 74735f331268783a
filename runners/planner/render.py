"""A plan as text, a line a step: for golden tests and for people."""

from __future__ import annotations

from hornbeam.graph.model import Transform
from hornbeam.runners.planner.plan import GROUPING_URNS, Plan


def to_text(plan: Plan) -> str:
    """Stages (or, before fusing, all steps) with each step's inputs and outputs by pcollection id."""
    if not plan.stages:
        return "".join(f"{_line(plan, step)}\n" for step in plan.steps.values())
    lines = []
    for stage in plan.stages:
        after = f" after {', '.join(sorted(stage.after))}" if stage.after else ""
        lines.append(f"{stage.name}{after}")
        lines.extend(f"  {_line(plan, plan.steps[id_])}" for id_ in stage.steps)
    return "\n".join(lines) + "\n"


def _line(plan: Plan, step: Transform) -> str:
    kind = step.urn.split(":")[-2] if ":" in step.urn else step.urn
    main = ", ".join(step.main_inputs().values())
    sides = ", ".join(f"{tag}={step.inputs[tag]}" for tag in step.side_inputs)
    out = ", ".join(f"{pc}*" if pc in plan.spooled else pc for pc in step.outputs.values())
    arrow = "⇒" if step.urn in GROUPING_URNS else "→"
    sides = f" [{sides}]" if sides else ""
    return f"{step.label} ({kind}): {main}{sides} {arrow} {out}".replace("  ", " ")
