"""A large vocabulary is put in the very order that NumPy gives it."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from explorer.backends import sorting
from explorer.backends.sorting import sort_logits
from explorer.decoding import Distribution

# Few different values, so that many tie; both zeros; tokens that are impossible.
FEW = st.sampled_from([-np.inf, -3.5, -(2.0**-140), -0.0, 0.0, 2.0**-140, 0.25, 3.5])
ANY = st.floats(-(2.0**100), 2.0**100, width=32)
ROWS = arrays(np.float32, st.integers(1, 60), elements=FEW | ANY)


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "LARGE", 1)


def same(ours: Distribution, expected: Distribution) -> bool:
    return (
        ours.token_ids.tolist() == expected.token_ids.tolist()
        and ours.logits.dtype == expected.logits.dtype == np.float64
        and ours.logits.tolist() == expected.logits.tolist()
        and ours.vocab_size == expected.vocab_size
    )


@pytest.mark.usefixtures("any_size")
@given(ROWS.filter(lambda row: np.isfinite(row).any()))
def test_small_rows_with_ties(row: NDArray[np.float32]) -> None:
    assert same(sort_logits(row), Distribution.from_logits(row))


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("size", [49_152, 262_144])
def test_a_large_vocabulary(
    size: int, decimals: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = np.random.default_rng(0).normal(0, 4, size).astype(np.float32)
    row = row if decimals is None else row.round(decimals)
    row[::1000] = -np.inf
    expected = Distribution.from_logits(row)
    with monkeypatch.context() as patch:
        patch.setattr(Distribution, "from_logits", None)  # the other way is not taken
        assert same(sort_logits(row), expected)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(
    "row",
    [
        [1.0, np.nan],
        [1.0, -np.nan],
        [np.inf, 1.0],
        [np.nan, np.inf, -np.inf],
        [-np.inf, -np.inf],
    ],
)
def test_what_is_no_distribution_is_said_as_everywhere(row: list[float]) -> None:
    logits = np.array(row, np.float32)
    with pytest.raises(ValueError) as expected:
        Distribution.from_logits(logits)
    with pytest.raises(ValueError, match=re.escape(str(expected.value))):
        sort_logits(logits)
