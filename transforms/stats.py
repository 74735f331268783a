"""Statistical transforms under Beam's module path; each lives in the module its import names."""

from __future__ import annotations

from hornbeam.transforms.approximate_unique import ApproximateUnique, ApproximateUniqueCombineFn
from hornbeam.transforms.quantiles import ApproximateQuantiles, ApproximateQuantilesCombineFn

__all__ = [
    "ApproximateQuantiles",
    "ApproximateQuantilesCombineFn",
    "ApproximateUnique",
    "ApproximateUniqueCombineFn",
]
