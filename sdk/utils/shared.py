"""An object that all threads and instances of a DoFn in one process share, such as a model or a connection."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class _Slot:
    """The one object of a Shared in this process, as long as somebody holds it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reference: weakref.ref[Any] | None = None
        self.tag: Any = None


class _Slots:
    """All slots of this process. The object acquired last is kept alive, so that two bundles can share it too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._last: Any = None

    def acquire(self, key: str, make: Callable[[], Any], tag: Any) -> Any:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
        with slot.lock:
            found = slot.reference() if slot.reference is not None else None
            if found is None or (tag is not None and tag != slot.tag):
                found = make()
                if found is None:
                    return None
                try:
                    slot.reference = weakref.ref(found)
                except TypeError:
                    raise TypeError(
                        f"Shared cannot hold a {type(found).__name__}, to which there are no weak references. "
                        "Return an instance of a class of your own, such as a subclass of it."
                    )
                slot.tag = tag
        with self._lock:
            self._last = found
        return found


_SLOTS = _Slots()


class Shared:
    """A handle to an object of which each process makes only one.

    Make it where the pipeline is built and keep it in the DoFn: its copies in other threads and bundles of a
    process lead to the same object.

    >>> class Model:
    ...     pass
    >>> shared = Shared()
    >>> shared.acquire(Model) is shared.acquire(Model)
    True
    """

    def __init__(self) -> None:
        self._key = str(uuid.uuid4())

    def acquire(self, constructor_fn: Callable[[], T], tag: Any = None) -> T:
        """The shared object; `constructor_fn` makes it if there is none, or if it was made for another `tag`.

        Only one thread makes it; the others wait. It lives as long as somebody holds what this returns, and
        the one acquired last lives on. None is passed on and not kept.
        """
        result: T = _SLOTS.acquire(self._key, constructor_fn, tag)
        return result
