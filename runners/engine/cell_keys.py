"""When two values in a Set, or two keys in a Map of state, are the same: when their coder gives them the same bytes.

As for the keys of tables (`engine.keys`), values whose equality in Python already says so stand for themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.coders.coders import Coder, FastPrimitivesCoder
from hornbeam.runners.engine.keys import EXACT_CODERS, EncodedKey, canonical_key

Canonical = Callable[[Any], Any]


def canonical_by(coder: Coder, label: str) -> Canonical:
    """What turns a value into what stands for it in a dict; `label` names the step in errors."""
    kind = EXACT_CODERS.get(type(coder))
    if kind is not None:
        return _exact(kind, coder)
    encode: list[Callable[[Any], bytes]] = []

    def encoded(value: Any) -> bytes:
        if not encode:
            encode.append(coder.as_deterministic_coder(label).encode)
        return encode[0](value)

    if type(coder) is FastPrimitivesCoder:
        return lambda value: canonical_key(value, encoded)
    return lambda value: EncodedKey(value, encoded(value))


def _exact(kind: type, coder: Coder) -> Canonical:
    """Values of another type are what the coder makes of them, so that True is 1 to a VarIntCoder."""

    def canonical(value: Any) -> Any:
        return value if type(value) is kind else coder.decode(coder.encode(value))

    return canonical
