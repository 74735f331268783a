"""Select: rows of chosen fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.pvalue import Row
from hornbeam.transforms.fields import field_getter
from hornbeam.transforms.pardo import Map
from hornbeam.transforms.ptransform import PTransform


class Select(PTransform[Any, Any]):
    """A `beam.Row` for each element, of attributes' names and functions of the element.

    >>> import hornbeam as beam
    >>> ["king"] | beam.Select(word=lambda w: w, length=len)
    [Row(word='king', length=4)]
    """

    def __init__(self, *args: str | Callable[[Any], Any], **kwargs: str | Callable[[Any], Any]) -> None:
        super().__init__()
        self._fields = [
            (field if isinstance(field, str) else f"arg{place:02d}", field_getter(field, place))
            for place, field in enumerate(args)
        ] + [(name, field_getter(field, name)) for name, field in kwargs.items()]
        self._exception_handling_args: dict[str, Any] | None = None

    def with_exception_handling(self, **kwargs: Any) -> Select:
        """Send elements that a function fails for elsewhere, as ParDo's method of that name does."""
        self._exception_handling_args = kwargs
        return self

    def default_label(self) -> str:
        """`ToRows(word, length)`."""
        return f"ToRows({', '.join(name for name, _ in self._fields)})"

    def expand(self, pcoll: Any) -> Any:
        """A Map."""
        to_row: PTransform[Any, Any] = Map(_ToRow(dict(self._fields)))
        if self._exception_handling_args is not None:
            to_row = to_row.with_exception_handling(**self._exception_handling_args)  # type: ignore[attr-defined]
        return pcoll | "ToRow" >> to_row

    def infer_output_type(self, input_type: Any) -> Any:
        """Rows."""
        return Row


class _ToRow:
    """A function that makes a row of an element."""

    def __init__(self, fields: dict[str, Callable[[Any], Any]]) -> None:
        self.fields = fields

    def __call__(self, element: Any) -> Row:
        return Row(**{name: getter(element) for name, getter in self.fields.items()})
