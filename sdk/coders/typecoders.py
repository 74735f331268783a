"""The registry: which coder the elements of a type get, and whether a coder may encode keys."""

from __future__ import annotations

import decimal
import logging
from collections.abc import Iterable
from typing import Any

from hornbeam.coders import hints
from hornbeam.coders.coder import Coder
from hornbeam.coders.containers import (
    IterableCoder,
    ListCoder,
    MapCoder,
    NullableCoder,
    ShardedKeyCoder,
    TupleCoder,
    TupleSequenceCoder,
)
from hornbeam.coders.fast_primitives import FastPrimitivesCoder
from hornbeam.coders.primitives import (
    BooleanCoder,
    BytesCoder,
    DecimalCoder,
    FloatCoder,
    StrUtf8Coder,
    VarIntCoder,
)
from hornbeam.coders.windowed import PaneInfoCoder, TimestampCoder, WindowedValueCoder
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import PaneInfo

_LOGGER = logging.getLogger(__name__)

_STANDARD: tuple[tuple[Any, type[Coder]], ...] = (
    (int, VarIntCoder),
    (float, FloatCoder),
    (bytes, BytesCoder),
    (bool, BooleanCoder),
    (str, StrUtf8Coder),
    (decimal.Decimal, DecimalCoder),
    (Timestamp, TimestampCoder),
    (PaneInfo, PaneInfoCoder),
)

#: The coders of generic hints; `row_coder`, which needs the registry itself, adds its own.
BY_KIND: dict[str, type[Coder]] = {
    hints.TUPLE: TupleCoder,
    hints.TUPLE_SEQUENCE: TupleSequenceCoder,
    hints.LIST: ListCoder,
    hints.ITERABLE: IterableCoder,
    hints.MAP: MapCoder,
    hints.NULLABLE: NullableCoder,
    hints.SHARDED_KEY: ShardedKeyCoder,
    hints.WINDOWED_VALUE: WindowedValueCoder,
}


class CoderRegistry:
    """From type hints to coders. A type that nobody registered gets the fallback, which takes anything."""

    def __init__(self, fallback_coder: Coder | None = None) -> None:
        self._coders: dict[Any, type[Coder] | Coder] = {}
        self._custom: list[tuple[Any, type[Coder] | Coder]] = []
        self._fallbacks: list[type[Coder] | Coder] = [fallback_coder or FastPrimitivesCoder()]
        for typehint, coder in _STANDARD:
            self._coders[typehint] = coder

    def register_coder(self, typehint_type: Any, typehint_coder_class: type[Coder] | Coder) -> None:
        """Elements of that type get that coder from now on; a coder's class, or a coder."""
        if not isinstance(typehint_coder_class, Coder) and not (
            isinstance(typehint_coder_class, type) and issubclass(typehint_coder_class, Coder)
        ):
            raise TypeError(
                f"register_coder needs a subclass of hornbeam.coders.Coder; found {typehint_coder_class!r}."
            )
        self._coders[typehint_type] = typehint_coder_class
        self._custom.append((typehint_type, typehint_coder_class))

    def register_fallback_coder(self, fallback_coder: type[Coder] | Coder) -> None:
        """Types that nobody registered get this coder from now on.

        A coder is taken for every type. A coder's class is asked by `from_type_hint`; where that raises a
        TypeError, ValueError or NotImplementedError, the fallback so far is next.
        """
        self._fallbacks.insert(0, fallback_coder)

    def get_custom_type_coder_tuples(self, types: Iterable[Any]) -> list[tuple[Any, type[Coder] | Coder]]:
        """What was registered by `register_coder`, for those of the types, in order."""
        wanted = list(types)
        return [(typehint, coder) for typehint, coder in self._custom if typehint in wanted]

    def get_coder(self, typehint: Any) -> Coder:
        """The coder of a type: of Python's typing, of hornbeam.typehints, or any class."""
        try:
            registered = self._coders.get(typehint)
        except TypeError:  # an unhashable hint
            registered = None
        if isinstance(registered, Coder):
            return registered
        if registered is not None:
            return registered.from_type_hint(typehint, self)
        parts = hints.take_apart(typehint)
        return self._fallback(typehint) if parts is None else self._of_parts(parts, typehint)

    def _of_parts(self, hint: hints.Hint, typehint: Any) -> Coder:
        known = BY_KIND.get(hint.kind)
        if known is not None:
            return known.from_type_hint(typehint, self)
        registered = self._coders.get(hint.origin)
        if isinstance(registered, type):
            return registered.from_type_hint(typehint, self)
        return registered or self._fallback(typehint)

    def _fallback(self, typehint: Any) -> Coder:
        for coder in self._fallbacks:
            if isinstance(coder, Coder):
                return coder
            try:
                return coder.from_type_hint(typehint, self)
            except (TypeError, ValueError, NotImplementedError):
                continue
        return FastPrimitivesCoder()

    def verify_deterministic(self, key_coder: Coder, op_name: str, silent: bool = True) -> Coder:
        """The key coder if it is deterministic, else its deterministic form; DeterminismError if it has none.

        Not `silent`: says so in the log when another coder takes its place.
        """
        if key_coder.is_deterministic():
            return key_coder
        result = key_coder.as_deterministic_coder(op_name)
        if not silent:
            _LOGGER.warning(
                "Key coder %r of %s is not deterministic; using %r instead.", key_coder, op_name, result
            )
        return result


#: The registry that pipelines use.
registry = CoderRegistry()
