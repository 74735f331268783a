"""From a Graph to a Plan: what runs together, and what flows between.

May import: graph, transforms (specs only). Imported by: engine, runners.
To add a pass, write it in a file of its own and name it in `passes.PASSES`; to see a plan, `render.to_text(plan)`.
"""

from hornbeam.runners.planner.passes import PASSES, STREAM_PASSES, make_plan
from hornbeam.runners.planner.plan import Plan, Stage

__all__ = ["PASSES", "STREAM_PASSES", "Plan", "Stage", "make_plan"]
