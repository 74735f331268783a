"""Batches that are numpy arrays, and `NumpyArray[dtype, shape]`, the hint of arrays of one type and shape."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any as AnyObject

from hornbeam.typehints.batch_converter import BatchConverter
from hornbeam.typehints.constraint import CompositeTypeHintError, Hint, TypeConstraint, hint_name, short

__all__ = ["N", "NumpyArray", "NumpyBatchConverter", "NumpyTypeConstraint"]

#: In a shape: the axis that counts the elements of a batch.
N = "ARRAY_LENGTH_PLACEHOLDER"

Shape = tuple[int | str, ...]


class NumpyTypeConstraint(TypeConstraint):
    """Arrays of one dtype and shape; a shape with N is that of a batch."""

    def __init__(self, dtype: AnyObject, shape: Shape = ()) -> None:
        self.dtype = dtype
        self.shape = shape

    def element_type(self) -> Hint:
        """The hint of the elements of a batch of this type: an array without the axis N, or the dtype's scalars."""
        rest = tuple(length for length in self.shape if length != N)
        return NumpyTypeConstraint(self.dtype, rest) if rest else self.dtype.type

    def type_check(self, instance: AnyObject) -> None:
        fits = (
            getattr(instance, "dtype", None) == self.dtype
            and len(instance.shape) == len(self.shape)
            and all(wanted in (N, found) for wanted, found in zip(self.shape, instance.shape))
        )
        if not fits:
            raise CompositeTypeHintError(f"expected {self!r}, found {short(instance)}")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NumpyTypeConstraint)
            and bool(self.dtype == other.dtype)
            and self.shape == other.shape
        )

    def __hash__(self) -> int:
        return hash((str(self.dtype), self.shape))

    def __repr__(self) -> str:
        shape = ", ".join("N" if length == N else str(length) for length in self.shape)
        return f"NumpyArray[{self.dtype}, ({shape})]"


class _NumpyArrayHint:
    """`NumpyArray[np.float32, (N, 3)]`: batches of three floats; without N, single arrays of that shape."""

    def __getitem__(self, parameters: AnyObject) -> NumpyTypeConstraint:
        import numpy

        dtype, shape = parameters if isinstance(parameters, tuple) else (parameters, ())
        if not isinstance(shape, tuple):
            raise TypeError(f"The shape in NumpyArray[dtype, shape] must be a tuple; found {shape!r}.")
        return NumpyTypeConstraint(numpy.dtype(dtype), shape)

    def __repr__(self) -> str:
        return "NumpyArray"

    def __reduce__(self) -> str:
        return "NumpyArray"


NumpyArray = _NumpyArrayHint()


class NumpyBatchConverter(BatchConverter[AnyObject, AnyObject]):
    """Batches are arrays, `np.ndarray` or `NumpyArray[dtype, shape with N]`; one axis counts the elements."""

    def __init__(self, batch_type: Hint, element_type: Hint, dtype: AnyObject, axis: int = 0) -> None:
        super().__init__(batch_type, element_type)
        self.dtype = dtype
        self.axis = axis
        builtin = isinstance(element_type, type) and element_type.__module__ == "builtins"
        self._gives_builtins = builtin

    def produce_batch(self, elements: Sequence[AnyObject]) -> AnyObject:
        import numpy

        if self.axis:
            return numpy.stack([numpy.asarray(each, dtype=self.dtype) for each in elements], axis=self.axis)
        return numpy.array(elements, dtype=self.dtype)

    def explode_batch(self, batch: AnyObject) -> Iterator[AnyObject]:
        import numpy

        if self._gives_builtins:
            return iter(batch.tolist())
        return iter(numpy.moveaxis(batch, self.axis, 0) if self.axis else batch)

    def combine_batches(self, batches: Sequence[AnyObject]) -> AnyObject:
        import numpy

        return numpy.concatenate(batches, axis=self.axis) if batches else self.produce_batch([])

    def get_length(self, batch: AnyObject) -> int:
        return int(batch.shape[self.axis])

    def estimate_byte_size(self, batch: AnyObject) -> int:
        return int(batch.nbytes)


@BatchConverter.register(name="numpy")
def numpy_converter(element_type: Hint, batch_type: Hint) -> NumpyBatchConverter:
    """The converter when the batches are arrays; TypeError, with the reason, when they are not."""
    if isinstance(batch_type, NumpyTypeConstraint):
        return _of_shape(element_type, batch_type)
    numpy = sys.modules.get("numpy")
    origin = getattr(batch_type, "__origin__", batch_type)
    if numpy is None or origin is not numpy.ndarray:
        raise TypeError("the batch must be np.ndarray or NumpyArray[...]")
    return NumpyBatchConverter(batch_type, element_type, _dtype_of(batch_type, element_type, numpy))


def _of_shape(element_type: Hint, batch_type: NumpyTypeConstraint) -> NumpyBatchConverter:
    if batch_type.shape.count(N) != 1:
        raise TypeError(f"the shape of {batch_type!r} must have N, the number of elements, once")
    wanted = batch_type.element_type()
    scalar = len(batch_type.shape) == 1 and batch_type.dtype == _dtype_or_none(element_type)
    if element_type != wanted and not scalar:
        raise TypeError(f"the elements of {batch_type!r} are of type {hint_name(wanted)}")
    return NumpyBatchConverter(batch_type, element_type, batch_type.dtype, batch_type.shape.index(N))


def _dtype_or_none(element_type: Hint) -> AnyObject:
    import numpy

    if element_type in (int, float, bool, complex) or (
        isinstance(element_type, type) and issubclass(element_type, numpy.generic)
    ):
        return numpy.dtype(element_type)
    return None


def _dtype_of(batch_type: Hint, element_type: Hint, numpy: AnyObject) -> AnyObject:
    """The dtype named by an array's hint, else the one of the elements' type."""
    for arg in getattr(batch_type, "__args__", ()):
        for inner in getattr(arg, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, numpy.generic):
                return numpy.dtype(inner)
    if isinstance(element_type, NumpyTypeConstraint):
        return element_type.dtype
    dtype = _dtype_or_none(element_type)
    if dtype is None:
        raise TypeError(f"elements of type {hint_name(element_type)} have no dtype")
    return dtype
