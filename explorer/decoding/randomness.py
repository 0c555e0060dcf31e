"""Seeded draws that do not depend on what was drawn before."""

from functools import lru_cache

import numpy as np

from explorer.decoding.parameters import check_count

MAX_SEED = 2**64 - 1


@lru_cache(maxsize=4096, typed=True)  # a draw is shown before it is made, and again afterwards
def uniform(seed: int, position: int, stream: int = 0) -> float:
    """The draw u in [0, 1) for the token at `position` under `seed`.

    NumPy's counter-based Philox generator keyed by (seed, position): the same pair always
    gives the same u, so going back and stepping again repeats the draw. `stream` numbers
    independent draws for the same token, such as a rule's own coin.

    >>> uniform(0, 7) == uniform(0, 7) != uniform(0, 8)
    True
    """
    check_count("seed", seed, 0, MAX_SEED)
    check_count("position", position, 0, MAX_SEED)
    key = np.array([seed, position], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, stream]))
    return float(generator.random())
