"""Coders that leave the work to a pickler: never deterministic, but good for any value that it takes."""

from __future__ import annotations

import importlib
import pickle
from typing import Any

from hornbeam.coders import urns
from hornbeam.coders.coder import Coder, FastCoder, known_by
from hornbeam.coders.deterministic import DeterministicFastPrimitivesCoder
from hornbeam.coders.streams import Reader, write_prefixed
from hornbeam.error import DataError
from hornbeam.utils import pickling


class PicklerCoder(FastCoder):
    """A pickle as bytes; subclasses choose the pickler in `dumps`."""

    def dumps(self, value: Any) -> bytes:
        """The value's pickle."""
        raise NotImplementedError(f"{type(self).__name__} does not define dumps.")

    def loads(self, data: bytes) -> Any:
        """The pickle's value."""
        return pickle.loads(data)

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a pickle."""
        data = self.dumps(value)
        if nested:
            write_prefixed(data, out)
        else:
            out += data

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read a pickle; DataError if it cannot be read."""
        data = reader.prefixed() if nested else reader.rest()
        try:
            return self.loads(data)
        except (pickle.UnpicklingError, EOFError) as error:
            raise DataError(f"{self!r} cannot read a pickle of {len(data)} bytes: {error}") from error

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


@known_by(urns.PICKLE)
class PickleCoder(PicklerCoder):
    """Python's own pickle, of the latest protocol."""

    def dumps(self, value: Any) -> bytes:
        """The value's pickle."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """FastPrimitivesCoder's deterministic form, which takes most types that make good keys."""
        return DeterministicFastPrimitivesCoder(step_label, error_message)


@known_by(urns.CLOUDPICKLE)
class CloudpickleCoder(PicklerCoder):
    """cloudpickle, which also takes functions and classes that no module can be asked for."""

    def dumps(self, value: Any) -> bytes:
        """The value's pickle."""
        return pickling.dumps(value)


@known_by(urns.DILL)
class DillCoder(PicklerCoder):
    """dill; needs the package to be installed."""

    def __init__(self) -> None:
        _dill()

    def dumps(self, value: Any) -> bytes:
        """The value's pickle."""
        return _dill().dumps(value)  # type: ignore[no-any-return]

    def loads(self, data: bytes) -> Any:
        """The pickle's value."""
        return _dill().loads(data)


class AnyPickleCoder(PicklerCoder):
    """pickle where it works and can be read elsewhere, else cloudpickle (slower, for classes of a script)."""

    def dumps(self, value: Any) -> bytes:
        """The value's pickle."""
        if type(value).__module__ != "__main__":
            try:
                return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except Exception:
                pass  # cloudpickle can do more, or raises what the user should see
        return pickling.dumps(value)


def _dill() -> Any:
    try:
        return importlib.import_module("dill")
    except ImportError:
        raise ImportError("DillCoder needs the package dill: pip install dill.")
