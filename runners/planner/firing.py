"""When the groups of a windowing fire, as far as it can be told without running: what may take a shorter way."""

from __future__ import annotations

from typing import Any

from hornbeam.graph.model import Spec, WindowingStrategy


def fires_once(windowing: WindowingStrategy, bounded: bool = False, late_output: bool = False) -> bool:
    """Whether each window of a key fires once, when it ends, with all that it has.

    `bounded` is for runs in which time goes from its beginning to its end in one step, so that nothing is ever late.
    """
    if not bounded and (windowing.allowed_lateness_micros or late_output):
        return False
    usual = windowing.closing_behavior == "EMIT_IF_NONEMPTY" and windowing.on_time_behavior == "FIRE_ALWAYS"
    return usual and only_fires_at_end(windowing.trigger)


def only_fires_at_end(trigger: Spec) -> bool:
    """Whether the trigger fires when the window ends and, but for late elements, never else."""
    trigger = _repeated(trigger)
    return trigger.get("type") in ("default", "after_watermark") and not trigger.get("early")


def only_looks_at_time(windowing: WindowingStrategy) -> bool:
    """Whether it makes no difference to panes if elements arrive one by one or, of one moment, combined.

    Not so where the number of elements is looked at: by a trigger that counts, by late firings, by Always.
    """
    if windowing.allowed_lateness_micros:
        return False
    trigger = _repeated(windowing.trigger)
    if only_fires_at_end(trigger):
        return True
    early = _repeated(trigger.get("early") or {})
    waits = early.get("type") == "after_processing_time" and early["delay_micros"] > 0
    return trigger.get("type") == "after_watermark" and bool(waits)


def _repeated(trigger: Spec) -> Any:
    while trigger.get("type") == "repeatedly":
        trigger = trigger["underlying"]
    return trigger
