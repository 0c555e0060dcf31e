"""Prefixes that branch, and what full passes say of them."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.backends.base import Continuations
from explorer.backends.local import LocalBackend
from tests.backends import tiny
from tests.backends.reusing import by_token_id, start_of

BRANCHING = ["llama", "gemma3", "gpt2"]
Prefix = tuple[int, ...]


def root_of(name: str) -> Prefix:
    """Past Gemma's window; in GPT-2's context five more tokens have room."""
    return start_of(name)[:-1]


def siblings(root: Prefix, count: int) -> list[Prefix]:
    return [(*root, 50 + n) for n in range(count)]


@cache
def _twin_of(name: str) -> Any:
    return tiny.MODELS[name].__wrapped__()  # type: ignore[attr-defined]  # drawn from one seed


@cache
def plain(name: str, prefix: Prefix) -> NDArray[np.float64]:
    """Softmax by token id of a full pass without a cache, by a model that no hook counts."""
    with torch.inference_mode():
        logits = _twin_of(name)(input_ids=torch.tensor([prefix]), use_cache=False).logits
        return torch.softmax(logits[0, -1].double(), -1).numpy()


def assert_continued_right(name: str, prefix: Prefix, found: Continuations, count: int) -> None:
    expected = plain(name, prefix)
    best = np.log(np.sort(expected)[::-1][:count])
    assert len(found.token_ids) == len(set(found.token_ids)) == min(count, tiny.VOCAB_SIZE)
    np.testing.assert_allclose(found.logprobs, best, atol=1e-4)
    np.testing.assert_allclose(np.log(expected[list(found.token_ids)]), best, atol=1e-4)


def assert_all_right(
    name: str, backend: LocalBackend, prefixes: Sequence[Prefix], count: int | None = None
) -> None:
    """Equal to full passes; with a count, `continuations` instead of `next_distributions`."""
    if count is not None:
        several = backend.continuations(prefixes, count)
        for prefix, found in zip(prefixes, several, strict=True):
            assert_continued_right(name, prefix, found, count)
    else:
        distributions = backend.next_distributions(prefixes)
        for prefix, distribution in zip(prefixes, distributions, strict=True):
            error = np.abs(by_token_id(distribution) - plain(name, prefix)).max()
            assert error < 1e-4, (prefix, error)
