"""How far apart two distributions over one vocabulary are."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.distribution import Distribution


@dataclass(frozen=True, eq=False, slots=True)
class Divergence:
    """Between `first`, the reference, and `second`."""

    first: NDArray[np.float64]  # (V,) probabilities by token id
    second: NDArray[np.float64]  # (V,)
    total_variation: float  # half the sum of the absolute differences
    kl: float  # Kullback-Leibler divergence of `second` from `first`, in bits; may be infinite

    def most_probable(self, count: int) -> list[int]:
        """Token ids in the order of the greater of their two probabilities."""
        greater = np.maximum(self.first, self.second)
        order: list[int] = np.argsort(-greater, kind="stable")[:count].tolist()
        return order


def divergence(first: Distribution, second: Distribution) -> Divergence:
    """Compare two raw distributions, both known whole.

    `ValueError` where one is known in part or the vocabularies differ in size. Kullback and
    Leibler, "On Information and Sufficiency" (1951): sum of p log2(p / q).

    >>> half, most = (Distribution.from_logits(np.log(p)) for p in ([0.5, 0.5], [0.75, 0.25]))
    >>> found = divergence(half, most)
    >>> round(found.total_variation, 3), round(found.kl, 4)
    (0.25, 0.2075)
    """
    if first.size != second.size or first.coverage < 1 or second.coverage < 1:
        raise ValueError("only whole distributions over one vocabulary can be compared")
    p, q = np.zeros((2, first.size))
    p[first.token_ids], q[second.token_ids] = first.probabilities, second.probabilities
    possible = p > 0
    with np.errstate(divide="ignore"):
        terms = p[possible] * (np.log(p[possible]) - np.log(q[possible]))
    kl = max(0.0, float(terms.sum())) / math.log(2)
    return Divergence(p, q, float(np.abs(p - q).sum()) / 2, kl)
