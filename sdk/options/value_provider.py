"""Values that may be known only when the pipeline runs, not while it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ClassVar, TypeVar

from hornbeam.error import RuntimeValueProviderError

__all__ = [
    "NestedValueProvider",
    "RuntimeValueProvider",
    "StaticValueProvider",
    "ValueProvider",
    "check_accessible",
]

F = TypeVar("F", bound=Callable[..., Any])


class ValueProvider:
    """A value, or the promise of one."""

    def is_accessible(self) -> bool:
        """Whether `get` can answer now."""
        raise NotImplementedError(f"{type(self).__name__} has to say whether its value is accessible.")

    def get(self) -> Any:
        """The value; raises RuntimeValueProviderError while it is not accessible."""
        raise NotImplementedError(f"{type(self).__name__} has to give its value.")


class StaticValueProvider(ValueProvider):
    """A value that is known from the start, converted by `value_type`."""

    def __init__(self, value_type: Callable[[Any], Any], value: Any) -> None:
        self.value_type = value_type
        self.value = value_type(value)

    def is_accessible(self) -> bool:
        return True

    def get(self) -> Any:
        return self.value

    def __str__(self) -> str:
        return str(self.value)

    def __repr__(self) -> str:
        return f"StaticValueProvider({_name(self.value_type)}, {self.value!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StaticValueProvider):
            return self.value_type == other.value_type and bool(self.value == other.value)
        return bool(self.value == other)

    def __hash__(self) -> int:
        return hash((self.value_type, self.value))


class RuntimeValueProvider(ValueProvider):
    """A value that the runner supplies with the options of the run, or else a default.

    `runtime_options` is what `set_runtime_options` has set in this process; None before the run.
    """

    runtime_options: ClassVar[Mapping[str, Any] | None] = None
    experiments: ClassVar[set[str]] = set()

    def __init__(self, option_name: str, value_type: Callable[[Any], Any], default_value: Any) -> None:
        self.option_name = option_name
        self.value_type = value_type
        self.default_value = default_value

    def is_accessible(self) -> bool:
        return RuntimeValueProvider.runtime_options is not None

    @classmethod
    def get_value(cls, option_name: str, value_type: Callable[[Any], Any], default_value: Any) -> Any:
        """The option's run-time value, or the default without one or before the run."""
        value = (RuntimeValueProvider.runtime_options or {}).get(option_name)
        return default_value if value is None else value_type(value)

    def get(self) -> Any:
        if RuntimeValueProvider.runtime_options is None:
            raise RuntimeValueProviderError(
                f"The value of option {self.option_name!r} is known only while the pipeline runs."
                " Call get() inside a DoFn, not while building the pipeline."
            )
        return self.get_value(self.option_name, self.value_type, self.default_value)

    @classmethod
    def set_runtime_options(cls, pipeline_options: Mapping[str, Any] | None) -> None:
        """Called by a runner with `options.get_all_options()` in each process that runs user code.

        None takes the values away again.
        """
        if pipeline_options is None:
            RuntimeValueProvider.runtime_options = None
            RuntimeValueProvider.experiments = set()
            return
        known = {
            name: value.get() if isinstance(value, StaticValueProvider) else value
            for name, value in pipeline_options.items()
            if not isinstance(value, RuntimeValueProvider)  # has its default
        }
        RuntimeValueProvider.runtime_options = known
        RuntimeValueProvider.experiments = set(known.get("experiments") or ())

    def _identity(self) -> tuple[Any, ...]:
        return self.option_name, self.value_type, self.default_value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuntimeValueProvider) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self.option_name)

    def __repr__(self) -> str:
        return (
            f"RuntimeValueProvider(option={self.option_name!r}, type={_name(self.value_type)},"
            f" default={self.default_value!r})"
        )


class NestedValueProvider(ValueProvider):
    """Another provider's value, put through a function when it is asked for."""

    def __init__(self, value: ValueProvider, translator: Callable[[Any], Any]) -> None:
        self.value = value
        self.translator = translator
        self._known: list[Any] = []

    def is_accessible(self) -> bool:
        return self.value.is_accessible()

    def get(self) -> Any:
        if not self._known:
            self._known = [self.translator(self.value.get())]
        return self._known[0]

    def __repr__(self) -> str:
        return f"NestedValueProvider({self.value!r}, {_name(self.translator)})"


def check_accessible(value_provider_list: Iterable[str]) -> Callable[[F], F]:
    """Decorates a method: it raises unless the named attributes of `self` are accessible providers."""
    if isinstance(value_provider_list, str):
        raise TypeError("check_accessible takes a list of attribute names, not a string.")
    names = list(value_provider_list)

    def decorate(method: F) -> F:
        @wraps(method)
        def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
            for name in names:
                provider = getattr(self, name)
                if isinstance(provider, ValueProvider) and not provider.is_accessible():
                    raise RuntimeValueProviderError(
                        f"{type(self).__name__}.{method.__name__} needs the value of {name!r}, which is"
                        f" not known before the pipeline runs: {provider!r}."
                    )
            return method(self, *args, **kwargs)

        return checked  # type: ignore[return-value]

    return decorate


def _name(function: Any) -> str:
    return getattr(function, "__name__", None) or repr(function)
