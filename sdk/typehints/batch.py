"""All batch converters, under the module path that users know from Beam. Importing it registers them."""

from __future__ import annotations

from hornbeam.typehints.batch_converter import BatchConverter, ListBatchConverter
from hornbeam.typehints.batch_numpy import N, NumpyArray, NumpyBatchConverter

__all__ = ["BatchConverter", "ListBatchConverter", "N", "NumpyArray", "NumpyBatchConverter"]
