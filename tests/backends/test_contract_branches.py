"""What every backend must do when it is asked about several prefixes at once."""

from collections.abc import Callable

import numpy as np
import pytest

from explorer.backends import Backend
from tests.backends.reusing import by_token_id
from tests.backends.test_contract import BACKENDS, prefix_of


@pytest.fixture(params=BACKENDS)
def make(request: pytest.FixtureRequest) -> Callable[[], Backend]:
    return BACKENDS[request.param]


@pytest.fixture
def backend(make: Callable[[], Backend]) -> Backend:
    return make()


def branching(backend: Backend) -> list[tuple[int, ...]]:
    root = prefix_of(backend, 12)
    tails = [(3,), (4,), (3, 5, 6), (), (4,), (7, 8)]
    return [*(root + tail for tail in tails), root[:5], (9, *root), (0, 1), (0, 1, 2)]


def test_several_distributions_are_those_of_each(make: Callable[[], Backend]) -> None:
    together, alone = make(), make()
    prefixes = branching(together)
    found = together.next_distributions(prefixes)
    for prefix, distribution in zip(prefixes, found, strict=True):
        expected = by_token_id(alone.next_distribution(prefix))
        assert by_token_id(distribution) == pytest.approx(expected, abs=1e-6)
        assert together.next_distribution(prefix) is distribution
    assert together.next_distributions([]) == ()


@pytest.mark.parametrize("count", [1, 5, 10**6])
def test_continuations_are_the_first_of_each_distribution(
    make: Callable[[], Backend], count: int
) -> None:
    together, alone = make(), make()
    prefixes = branching(together)
    for _ in range(2):  # computed, and remembered
        for prefix, found in zip(prefixes, together.continuations(prefixes, count), strict=True):
            distribution = alone.next_distribution(prefix)
            expected = distribution.probabilities[:count]
            np.testing.assert_allclose(np.exp(found.logprobs), expected, atol=1e-6)
            their_own = by_token_id(distribution)[list(found.token_ids)]
            np.testing.assert_allclose(their_own, expected, atol=1e-6)
            assert len(set(found.token_ids)) == len(found.token_ids) == len(expected)


def test_continuations_of_a_known_distribution_are_the_same(backend: Backend) -> None:
    prefixes = branching(backend)
    distributions = backend.next_distributions(prefixes)
    for found, distribution in zip(backend.continuations(prefixes, 9), distributions, strict=True):
        assert list(found.token_ids) == distribution.token_ids[:9].tolist()
