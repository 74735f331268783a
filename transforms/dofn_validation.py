"""The documented mistakes in a DoFn, found when a ParDo is made of it."""

from __future__ import annotations

from typing import Any

from hornbeam.transforms.dofn import CallableDoFn, DoFn, refuse_async
from hornbeam.transforms.restriction import RestrictionProvider, WatermarkEstimatorProvider
from hornbeam.transforms.signature import NO_DEFAULT, DoFnSignature, MethodSignature
from hornbeam.transforms.userstate import validate_stateful_dofn

#: What a method that is called without an element cannot ask for.
_OF_AN_ELEMENT = frozenset(
    {
        "element",
        "timestamp",
        "window",
        "pane",
        "key",
        "windowed_value",
        "state",
        "timer",
        "restriction",
        "watermark_estimator",
        "dynamic_timer_tag",
    }
)

#: What a callback of a timer or of a window's expiration cannot ask for.
_OF_NO_CALLBACK = frozenset({"element", "windowed_value", "restriction", "watermark_estimator"})


def validate_dofn(dofn: DoFn) -> DoFnSignature:
    """The DoFn's signature, after the documented mistakes were looked for; ValueError or TypeError for one."""
    kind = type(dofn)
    name = kind.__name__
    if not isinstance(dofn, CallableDoFn):
        if kind.process is DoFn.process and not dofn._has_process_batch:
            raise ValueError(f"The DoFn {name} must define process(self, element).")
        if isinstance(kind.__dict__.get("process"), staticmethod | classmethod):
            raise ValueError(f"{name}.process must be an ordinary method, not a static or class method.")
        for method_name in ("process", "process_batch", "start_bundle", "finish_bundle", "setup", "teardown"):
            refuse_async(getattr(dofn, method_name, None), f"{name}.{method_name}")
    signature = dofn.signature()
    for method in signature.methods():
        _refuse_duplicates(name, method)
    for method in (signature.setup, signature.start_bundle, signature.finish_bundle, signature.teardown):
        for parameter in method.parameters:
            if parameter.kind in _OF_AN_ELEMENT:
                raise ValueError(
                    f"{name}.{method.name} cannot ask for {parameter.param!r}: there is no element when it is called."
                )
    _check_callbacks(signature, name)
    _check_splittable(signature, name)
    if signature.is_stateful and not isinstance(dofn, CallableDoFn):
        if signature.is_splittable:
            raise ValueError(
                f"{name} uses a restriction and state or timers; a DoFn may do one or the other."
            )
        validate_stateful_dofn(dofn)
    return signature


def _check_callbacks(signature: DoFnSignature, name: str) -> None:
    """ValueError for a parameter that a timer's callback or @on_window_expiration method cannot have."""
    if signature.requires_time_sorted_input and not signature.is_stateful:
        raise ValueError(
            f"{name}.process is marked with requires_time_sorted_input, which is for DoFns with state or timers only."
        )
    expiring = signature.on_window_expiration
    for method in (*signature.timer_callbacks.values(), *([] if expiring is None else [expiring])):
        for parameter in method.parameters:
            required = parameter.kind == "argument" and parameter.default is NO_DEFAULT
            if parameter.kind in _OF_NO_CALLBACK or required:
                asked = repr(parameter.name) if required else repr(parameter.param)
                raise ValueError(
                    f"{name}.{method.name} cannot ask for {asked}: it is called without an element, by a timer or the "
                    "end of a window, and gets what its parameters' defaults name (DoFn.KeyParam, DoFn.WindowParam, "
                    "DoFn.TimestampParam, DoFn.StateParam(...), DoFn.TimerParam(...))."
                )


def _refuse_duplicates(name: str, method: MethodSignature) -> None:
    seen: set[Any] = set()
    for parameter in method.parameters:
        if parameter.param is None or parameter.kind == "argument":
            continue
        if parameter.param in seen:
            raise ValueError(f"{name}.{method.name} asks for {parameter.param!r} more than once.")
        seen.add(parameter.param)


def _check_splittable(signature: DoFnSignature, name: str) -> None:
    if signature.restriction_param is None:
        if signature.watermark_estimator_param is not None:
            raise ValueError(
                f"{name}.process asks for a watermark estimator but for no restriction; only a splittable DoFn "
                "has one. Add a parameter with the default DoFn.RestrictionParam(provider)."
            )
        return
    if not isinstance(signature.restriction_provider, RestrictionProvider):
        raise ValueError(
            f"{name}.process asks for a restriction, but there is no provider: write "
            "DoFn.RestrictionParam(MyRestrictionProvider()), or make the DoFn itself a RestrictionProvider."
        )
    provider = signature.watermark_estimator_provider
    if provider is not None and not isinstance(provider, WatermarkEstimatorProvider):
        raise ValueError(
            f"{name}.process asks for a watermark estimator, but there is no provider: write "
            "DoFn.WatermarkEstimatorParam(MyProvider()), or make the DoFn itself a WatermarkEstimatorProvider."
        )
