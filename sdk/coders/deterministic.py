"""The coder of keys whose type is not known: the tagged form, held to be deterministic."""

from __future__ import annotations

from typing import Any

from hornbeam.coders import special_types, urns
from hornbeam.coders.coder import Coder, DeterminismError, known_by
from hornbeam.coders.tagged import TaggedCoder


class AnyValueCoder(TaggedCoder):
    """What the plain and the deterministic form have in common: they take anything, pairs as well."""

    def is_kv_coder(self) -> bool:
        """True: it takes pairs like anything else."""
        return True

    def key_coder(self) -> Coder:
        """Itself."""
        return self

    def value_coder(self) -> Coder:
        """Itself."""
        return self

    def to_type_hint(self) -> Any:
        """Any"""
        return Any


@known_by(urns.FAST_PRIMITIVES_DETERMINISTIC)
class DeterministicFastPrimitivesCoder(AnyValueCoder):
    """Equal values of one type have equal bytes; a value that cannot promise that is a DeterminismError.

    `step_label` is the step whose keys these are, for the message.
    """

    ordered = True

    def __init__(self, step_label: str = "", error_message: str | None = None) -> None:
        self._step_label = step_label
        self._error_message = error_message

    def write_other(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append the deterministic form of a value that is not plain."""
        try:
            special_types.write_special(self, value, out)
        except special_types.NoDeterministicForm as reason:
            raise self._refusal(value, reason) from None

    def _refusal(self, value: Any, reason: Exception) -> DeterminismError:
        cls = type(value)
        where = f" of '{self._step_label}'" if self._step_label else ""
        message = (
            f"Unable to deterministically encode {value!r:.200} of type {cls.__module__}.{cls.__qualname__} "
            f"in a key{where}: {reason}. Use a str, number, tuple, NamedTuple, enum or frozen dataclass as "
            "key, or declare the key's type and register a deterministic coder for it with "
            "hornbeam.coders.registry.register_coder."
        )
        return DeterminismError(f"{self._error_message} {message}" if self._error_message else message)

    def is_deterministic(self) -> bool:
        """True."""
        return True

    def spec(self) -> dict[str, Any]:
        """The step whose keys these are."""
        spec = {"step": self._step_label} if self._step_label else {}
        if self._error_message:
            spec["error_message"] = self._error_message
        return spec

    @classmethod
    def from_function(
        cls, components: tuple[Coder, ...], spec: Any, payload: bytes
    ) -> DeterministicFastPrimitivesCoder:
        """The coder for the keys of that step."""
        return cls(str(spec.get("step", "")), spec.get("error_message"))
