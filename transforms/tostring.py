"""ToString: elements, pairs and iterables as strings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from hornbeam.transforms.core import Map
from hornbeam.transforms.ptransform import PTransform
from hornbeam.typehints import Tuple

K = TypeVar("K")
V = TypeVar("V")


class ToString:
    """Transforms that make strings, by `str`, of elements, of (key, value) pairs, or of iterables."""

    class Element(PTransform[Any, Any]):
        """Every element as `str` gives it.

        >>> import hornbeam as beam
        >>> [1, None] | beam.ToString.Element()
        ['1', 'None']
        """

        def expand(self, pcoll: Any) -> Any:
            """Map with `str`."""
            return pcoll | "ElementToString" >> Map(str).with_output_types(str)

    class Kvs(PTransform[Any, Any]):
        """Every pair as key, delimiter (a comma unless given), value.

        >>> import hornbeam as beam
        >>> [("a", 1)] | beam.ToString.Kvs()
        ['a,1']
        """

        def __init__(self, delimiter: str | None = None) -> None:
            super().__init__()
            self.delimiter = "," if delimiter is None else delimiter

        def expand(self, pcoll: Any) -> Any:
            """Map with a format."""
            delimiter = self.delimiter

            def to_string(pair: tuple[Any, Any]) -> str:
                key, value = pair
                return f"{key}{delimiter}{value}"

            step = Map(to_string).with_input_types(Tuple[K, V]).with_output_types(str)
            return pcoll | "KeyValueToString" >> step

    class Iterables(PTransform[Any, Any]):
        """Every iterable as its elements, joined by a delimiter (a comma unless given).

        >>> import hornbeam as beam
        >>> [(1, 2, 3)] | beam.ToString.Iterables(delimiter="-")
        ['1-2-3']
        """

        def __init__(self, delimiter: str | None = None) -> None:
            super().__init__()
            self.delimiter = "," if delimiter is None else delimiter

        def expand(self, pcoll: Any) -> Any:
            """Map with a join."""
            delimiter = self.delimiter

            def to_string(elements: Iterable[Any]) -> str:
                return delimiter.join(map(str, elements))

            return pcoll | "IterablesToString" >> Map(to_string).with_output_types(str)
