"""What has changed of a head whose entries have names, and come and go: splits, readers, restrictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hornbeam.runners.engine.head import DELETED


class NamedChanges:
    """The names of entries that changed since they were last told. One that goes before it was ever told is not told of."""

    def __init__(self) -> None:
        self.are_tracked = False
        #: A dict, for it keeps their order.
        self._changed: dict[Any, None] = {}
        self._told: set[Any] = set()

    def track(self, names: Iterable[Any]) -> None:
        """From now on changes are remembered; those with these names are to be told."""
        self.are_tracked = True
        self._changed = dict.fromkeys(names)

    def note(self, *names: Any) -> None:
        """The entries with these names have come, changed or gone."""
        if self.are_tracked:
            self._changed.update(dict.fromkeys(names))

    def loaded(self, name: Any) -> None:
        """The entry comes from a snapshot, which knows of it."""
        self._told.add(name)

    def take(self, content: Callable[[Any], Any]) -> list[tuple[Any, Any]]:
        """The entries that changed, as `content` gives them by their names; DELETED for those that have gone."""
        names, self._changed = self._changed, {}
        taken: list[tuple[Any, Any]] = []
        for name in names:
            entry = content(name)
            if entry is not DELETED:
                self._told.add(name)
                taken.append((name, entry))
            elif name in self._told:
                self._told.discard(name)
                taken.append((name, DELETED))
        return taken
