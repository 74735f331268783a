"""How an element is known again when it comes again, in another process and after a restart: by a digest of its pickle.

The pickle is made without remembering what it holds twice, so that it says the same whether two equal parts are one
object or two. Elements that cannot be pickled so go by their pickle, and those that cannot be pickled at all by their repr.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any

import cloudpickle

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def element_identity(element: Any) -> str:
    """The same text for the same element; never raises."""
    for fast in (True, False):
        buffer = io.BytesIO()
        try:
            pickler = cloudpickle.Pickler(buffer, 5)
            pickler.fast = fast
            pickler.dump(element)
        except (
            Exception
        ):  # what holds itself cannot be pickled fast; the element's own code may raise anything
            continue
        return hashlib.blake2b(buffer.getbuffer(), digest_size=16).hexdigest()
    try:
        shown = without_addresses(repr(element))
    except Exception:
        shown = type(element).__qualname__
    return hashlib.blake2b(shown.encode(errors="replace"), digest_size=16).hexdigest()


def without_addresses(text: str) -> str:
    """A repr without places in memory, which are others in each process."""
    return _ADDRESS.sub("", text)
