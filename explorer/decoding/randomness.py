"""Seeded draws that do not depend on what was drawn before."""

import numpy as np

from explorer.decoding.parameters import check_count

MAX_SEED = 2**64 - 1


def uniform(seed: int, position: int) -> float:
    """The draw u in [0, 1) for the token at `position` under `seed`.

    NumPy's counter-based Philox generator keyed by (seed, position): the same pair always
    gives the same u, so going back and stepping again repeats the draw.

    >>> uniform(0, 7) == uniform(0, 7) != uniform(0, 8)
    True
    """
    check_count("seed", seed, 0, MAX_SEED)
    check_count("position", position, 0, MAX_SEED)
    key = np.array([seed, position], dtype=np.uint64)
    return float(np.random.Generator(np.random.Philox(key=key)).random())
