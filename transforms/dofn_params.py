"""What a DoFn's method may ask for in a parameter's default: `def process(self, x, ts=DoFn.TimestampParam)`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hornbeam.transforms.restriction import RestrictionProvider, WatermarkEstimatorProvider
    from hornbeam.transforms.userstate import StateSpec, TimerSpec


class DoFnParam:
    """A value that the runner puts in when it calls a DoFn. Two are the same when their `param_id` is."""

    def __init__(self, param_id: str, kind: str) -> None:
        self.param_id = param_id
        #: The `Parameter.kind` of a parameter with this default.
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.param_id == other.param_id

    def __hash__(self) -> int:
        return hash(self.param_id)

    def __repr__(self) -> str:
        return self.param_id


class RestrictionParam(DoFnParam):
    """The tracker of the restriction in work; its presence makes the DoFn splittable.

    Without a provider the DoFn itself must be a RestrictionProvider.
    """

    def __init__(self, restriction_provider: RestrictionProvider | None = None) -> None:
        super().__init__("RestrictionParam", "restriction")
        self.restriction_provider = restriction_provider


class WatermarkEstimatorParam(DoFnParam):
    """The estimator of the watermark of a splittable DoFn's output.

    Without a provider the DoFn itself must be a WatermarkEstimatorProvider.
    """

    def __init__(self, watermark_estimator_provider: WatermarkEstimatorProvider | None = None) -> None:
        super().__init__("WatermarkEstimatorProvider", "watermark_estimator")
        self.watermark_estimator_provider = watermark_estimator_provider


def _name_of(spec: Any, param: str, kind: str) -> str:
    """The spec's name. Told by its class's name, or a base's: the specs' module imports this one."""
    if not any(base.__name__ == kind for base in type(spec).__mro__):
        raise ValueError(f"DoFn.{param} needs a {kind}; it got {spec!r} of type {type(spec).__name__}.")
    name: str = spec.name
    return name


class StateParam(DoFnParam):
    """The state cell of the element's key and window that a StateSpec describes."""

    def __init__(self, state_spec: StateSpec) -> None:
        super().__init__(f"StateParam({_name_of(state_spec, 'StateParam', 'StateSpec')})", "state")
        self.state_spec = state_spec


class TimerParam(DoFnParam):
    """The timer of the element's key and window that a TimerSpec describes."""

    def __init__(self, timer_spec: TimerSpec) -> None:
        super().__init__(f"TimerParam({_name_of(timer_spec, 'TimerParam', 'TimerSpec')})", "timer")
        self.timer_spec = timer_spec


class BundleFinalizerParam(DoFnParam):
    """Takes callbacks for when the bundle's results are durable: `finalizer.register(callback)`."""

    def __init__(self) -> None:
        super().__init__("FinalizeBundle", "bundle_finalizer")
        self._callbacks: list[Callable[[], None]] = []

    def register(self, callback: Callable[[], None]) -> None:
        """Call `callback` once after the bundle is durable; best effort, and never before."""
        self._callbacks.append(callback)

    def finalize_bundle(self) -> None:
        """Call what was registered; a failure of one keeps none of the others from being called."""
        failed: BaseException | None = None
        for callback in self._callbacks:
            try:
                callback()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def has_callbacks(self) -> bool:
        """Whether anything was registered since the last reset."""
        return bool(self._callbacks)

    def reset(self) -> None:
        """Forget what was registered."""
        self._callbacks.clear()

    def take(self) -> list[Callable[[], None]]:
        """What was registered since the last reset, to be called by somebody else; forgets it."""
        taken, self._callbacks = self._callbacks, []
        return taken


class _ContextParam(DoFnParam):
    """The value of a context manager that the runner holds open for the DoFn."""

    def __init__(
        self,
        context_manager_constructor: Callable[..., contextlib.AbstractContextManager[Any]],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self.context_manager_constructor = context_manager_constructor
        self.args = args
        self.kwargs = kwargs or {}
        shown = name or getattr(context_manager_constructor, "__name__", repr(context_manager_constructor))
        super().__init__(f"{type(self).__name__}({shown})", self._kind)

    _kind = ""

    def create_and_enter(self) -> tuple[contextlib.AbstractContextManager[Any], Any]:
        """A new context manager, and what entering it gave."""
        manager = self.context_manager_constructor(*self.args, **self.kwargs)
        return manager, manager.__enter__()


class SetupContextParam(_ContextParam):
    """The value of a context manager that is open from setup to teardown."""

    _kind = "setup_context"


class BundleContextParam(_ContextParam):
    """The value of a context manager that is open for the length of a bundle."""

    _kind = "bundle_context"


ELEMENT_PARAM = DoFnParam("ElementParam", "element")
SIDE_INPUT_PARAM = DoFnParam("SideInputParam", "argument")
TIMESTAMP_PARAM = DoFnParam("TimestampParam", "timestamp")
WINDOW_PARAM = DoFnParam("WindowParam", "window")
WINDOWED_VALUE_PARAM = DoFnParam("WindowedValueParam", "windowed_value")
PANE_INFO_PARAM = DoFnParam("PaneInfoParam", "pane")
KEY_PARAM = DoFnParam("KeyParam", "key")
DYNAMIC_TIMER_TAG_PARAM = DoFnParam("DynamicTimerTagParam", "dynamic_timer_tag")


def param_of_default(default: Any) -> DoFnParam | None:
    """The parameter's meaning, by its default; None for an ordinary default.

    `DoFn.BundleFinalizerParam` is a class and stands for its instance.
    """
    if isinstance(default, DoFnParam):
        return default
    if default is BundleFinalizerParam:
        return BundleFinalizerParam()
    if default is RestrictionParam:
        return RestrictionParam()
    if default is WatermarkEstimatorParam:
        return WatermarkEstimatorParam()
    return None
