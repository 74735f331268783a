"""Type hints: what the elements of a PCollection are, as the author declares it or the code tells.

`constraint` says what a hint is, `rules` what holds between any two, `containers` and `unions` are the hints over
other hints, `typehints` the names that users write, `native_type_compatibility` the way from and to Python's
typing. `signatures`, `io_hints` and `decorators` say what functions and transforms take and give;
`trivial_inference` guesses where nobody said; `checks` compares and complains. `row_type`, `schemas`, `batch_converter`,
`batch_numpy` and `sharded_key_type` are for special elements.

May import: `hornbeam.utils`, `hornbeam.error`. To add a kind of hint, open `containers`; a rule, `rules`.
"""

from __future__ import annotations

from hornbeam.typehints.batch import BatchConverter
from hornbeam.typehints.decorators import (
    TypeCheckError,
    WithTypeHints,
    disable_type_annotations,
    no_annotations,
    with_input_types,
    with_output_types,
)
from hornbeam.typehints.typehints import (
    KV,
    Any,
    Collection,
    Dict,
    FrozenSet,
    Generator,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVariable,
    Union,
    WindowedValue,
)

__all__ = [
    "KV",
    "Any",
    "BatchConverter",
    "Collection",
    "Dict",
    "FrozenSet",
    "Generator",
    "Iterable",
    "Iterator",
    "List",
    "Optional",
    "Sequence",
    "Set",
    "Tuple",
    "TypeCheckError",
    "TypeVariable",
    "Union",
    "WindowedValue",
    "WithTypeHints",
    "disable_type_annotations",
    "no_annotations",
    "with_input_types",
    "with_output_types",
]
