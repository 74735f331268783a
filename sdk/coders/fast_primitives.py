"""FastPrimitivesCoder: the coder of elements whose type is not known."""

from __future__ import annotations

from typing import Any

from hornbeam.coders import urns
from hornbeam.coders.coder import Coder, known_by
from hornbeam.coders.deterministic import AnyValueCoder, DeterministicFastPrimitivesCoder
from hornbeam.coders.pickles import AnyPickleCoder, PicklerCoder
from hornbeam.coders.tagged import write_pickle


@known_by(urns.FAST_PRIMITIVES)
class FastPrimitivesCoder(AnyValueCoder):
    """Plain values in a compact tagged form (see `tagged`), anything else by `fallback_coder`, a pickler."""

    def __init__(self, fallback_coder: Coder | None = None) -> None:
        self._fallback_coder = fallback_coder or AnyPickleCoder()

    def write_other(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append the fallback's bytes."""
        fallback = self._fallback_coder
        data = fallback.dumps(value) if isinstance(fallback, PicklerCoder) else fallback.encode(value)
        write_pickle(data, out, nested)

    def read_pickle(self, data: bytes) -> Any:
        """The value of the fallback's bytes."""
        return self._fallback_coder.decode(data)

    def is_deterministic(self) -> bool:
        """Whether the fallback is."""
        return self._fallback_coder.is_deterministic()

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """The deterministic form; it refuses a key only when it meets one that has none."""
        if self.is_deterministic():
            return self
        return DeterministicFastPrimitivesCoder(step_label, error_message)

    def components(self) -> tuple[Coder, ...]:
        """The fallback, unless it is the usual one."""
        return () if type(self._fallback_coder) is AnyPickleCoder else (self._fallback_coder,)
