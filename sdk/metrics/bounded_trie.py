"""A set of paths of bounded size: past the bound, prefixes stand for many paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

__all__ = ["BoundedTrieData"]

DEFAULT_BOUND = 100


class _Node:
    """A prefix. `truncated` says that paths below it were cut off; the node then has no children."""

    __slots__ = ("children", "size", "truncated")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.truncated = False
        self.size = 1

    def add(self, segments: Sequence[str]) -> int:
        """Adds a path below this node and answers by how much its number of leaves has grown."""
        if self.truncated or not segments:
            return 0
        child = self.children.get(segments[0])
        if child is None:
            was_leaf = not self.children
            child = self.children[segments[0]] = _Node()
            child.add(segments[1:])
            grown = 0 if was_leaf else 1
        else:
            grown = child.add(segments[1:])
        self.size += grown
        return grown

    def merge(self, other: _Node) -> int:
        """Joins another node's paths into this one; answers the growth in leaves."""
        before = self.size
        if self.truncated or other.truncated:
            self.children = {}
            self.truncated = True
        else:
            for segment, theirs in other.children.items():
                self.children.setdefault(segment, _Node()).merge(theirs)
        self.size = sum(child.size for child in self.children.values()) or 1
        return self.size - before

    def trim(self) -> int:
        """Cuts the largest group of paths back to its prefix; answers the growth in leaves (not positive)."""
        if not self.children:
            return 0
        largest = max(self.children.values(), key=lambda child: child.size)
        if largest.size == 1:
            grown = 1 - self.size
            self.children = {}
            self.truncated = True
            self.size = 1
        else:
            grown = largest.trim()
            self.size += grown
        return grown

    def paths(self, prefix: tuple[str, ...]) -> Iterator[tuple[str | bool, ...]]:
        """The paths below `prefix`, each followed by whether it was cut."""
        if not self.children:
            yield (*prefix, self.truncated)
        for segment in sorted(self.children):
            yield from self.children[segment].paths((*prefix, segment))


class BoundedTrieData:
    """The paths of a BoundedTrie metric; merging is commutative and keeps the bound."""

    __slots__ = ("_root", "bound")

    def __init__(self, paths: Iterable[Sequence[str]] = (), bound: int = DEFAULT_BOUND) -> None:
        self.bound = bound
        self._root: _Node | None = None
        for path in paths:
            self.add(path)

    @property
    def size(self) -> int:
        """The number of paths held."""
        return self._root.size if self._root else 0

    def add(self, path: Sequence[str]) -> None:
        """Adds a path; cuts prefixes back when the bound is passed."""
        if self._root is None:
            self._root = _Node()
        self._root.add(tuple(path))
        self._trim()

    def merge(self, other: BoundedTrieData) -> None:
        """Adds all paths of `other`."""
        if other._root is not None:
            if self._root is None:
                self._root = _Node()
            self._root.merge(other._root)
            self._trim()

    def copy(self) -> BoundedTrieData:
        """An independent copy."""
        twin = BoundedTrieData(bound=self.bound)
        twin.merge(self)
        return twin

    def as_set(self) -> frozenset[tuple[str | bool, ...]]:
        """The paths as tuples; the last member of each says whether it stands for longer, cut ones."""
        return frozenset(self._root.paths(())) if self._root else frozenset()

    def contains(self, path: Sequence[str]) -> bool:
        """Whether the path was added, as far as the cut prefixes tell."""
        node = self._root
        if node is None:
            return False
        for segment in path:
            if node.truncated:
                return True
            node = node.children.get(segment)
            if node is None:
                return False
        return True

    def _trim(self) -> None:
        while self._root is not None and self._root.size > self.bound:
            self._root.trim()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundedTrieData) and self.as_set() == other.as_set()

    def __hash__(self) -> int:
        return hash(self.as_set())

    def __repr__(self) -> str:
        return f"BoundedTrieData({self.size} paths)"
