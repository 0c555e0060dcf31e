"""One budget of bytes for all that is remembered of prefixes."""

import numpy as np

from explorer.backends.prefix_memory import PrefixMemory
from explorer.decoding import Distribution


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    one = Distribution.from_logits(np.zeros(100))
    memory = PrefixMemory(3 * 4 * one.logits.nbytes)
    for token_id in (1, 2, 3):
        memory.put("distribution", "m", (token_id,), one)
    memory.get("distribution", "m", (1,))
    memory.put("distribution", "m", (4,), one)
    kept = [i for i in (1, 2, 3, 4) if memory.get("distribution", "m", (i,)) is not None]
    assert kept == [1, 3, 4]


def test_what_exceeds_the_budget_is_not_kept() -> None:
    memory = PrefixMemory(1_000)
    memory.put("distribution", "m", (1,), Distribution.from_logits(np.zeros(1_000)))
    assert memory.get("distribution", "m", (1,)) is None
    assert memory.used_bytes == 0


def test_the_first_that_is_kept_stays() -> None:
    one, other = (Distribution.from_logits(np.zeros(100)) for _ in range(2))
    memory = PrefixMemory(10**6)
    assert memory.keep_first("distribution", "m", (1,), one) is one
    assert memory.keep_first("distribution", "m", (1,), other) is one
    assert memory.keep_first("distribution", "m", (2,), other) is other
    assert memory.get("distribution", "m", (1,)) is one
    small = PrefixMemory(100)
    assert small.keep_first("distribution", "m", (1,), one) is one  # which it does not keep
    assert small.get("distribution", "m", (1,)) is None


def test_used_bytes_count_the_arrays_that_a_distribution_keeps() -> None:
    distribution = Distribution.from_logits(np.arange(1_000.0))
    memory = PrefixMemory(10**6)
    memory.put("distribution", "m", (1,), distribution)
    distribution.rank_of(distribution.probabilities.argmax())
    kept = (
        distribution.token_ids,
        distribution.logits,
        distribution.probabilities,
        distribution.positions,
    )
    assert memory.used_bytes >= sum(array.nbytes for array in kept)


def test_longest_is_the_longest_of_the_same_kind_and_model() -> None:
    memory = PrefixMemory(10**6)
    one = Distribution.from_logits(np.zeros(4))
    for kind, model, prefix in [
        ("distribution", "m", (1, 2, 3, 9, 9)),
        ("distribution", "m", (1, 2)),
        ("distribution", "m", (2, 2, 3, 4)),
        ("distribution", "other", (1, 2, 3, 4)),
        ("scores", "m", (1, 2, 3, 4)),
    ]:
        memory.put(kind, model, prefix, () if kind == "scores" else one)
    shared, found = memory.longest("distribution", "m", (1, 2, 3, 4))
    assert (shared, found and found[0]) == (3, (1, 2, 3, 9, 9))
    assert memory.longest("distribution", "m", (3, 3)) == (0, None)
    assert memory.longest("cache", "m", (1, 2)) == (0, None)
