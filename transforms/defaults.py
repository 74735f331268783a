"""What the global combiners share: an output for empty input, which can be switched off."""

from __future__ import annotations

import copy
from typing import Any, Self

from hornbeam.transforms.core import CombineFn, CombineGlobally
from hornbeam.transforms.ptransform import PTransform


class CombinerWithoutDefaults(PTransform[Any, Any]):
    """A global combiner that gives a value for empty input too, unless `without_defaults` was called.

    An empty input is known to be empty in the global window only, so a combiner over other windows must be
    applied with `without_defaults()`.
    """

    def __init__(self, has_defaults: bool = True) -> None:
        super().__init__()
        self.has_defaults = has_defaults

    def with_defaults(self, has_defaults: bool = True) -> Self:
        """A copy that gives (or, with False, does not give) a value for empty input."""
        clone = copy.copy(self)
        clone.has_defaults = has_defaults
        return clone

    def without_defaults(self) -> Self:
        """A copy that gives nothing for empty input; needed over windows other than the global one."""
        return self.with_defaults(False)

    def combine(self, pcoll: Any, fn: CombineFn) -> Any:
        """Combine all of `pcoll` with `fn`, with or without the value for empty input."""
        combine = CombineGlobally(fn)
        return pcoll | (combine if self.has_defaults else combine.without_defaults())
