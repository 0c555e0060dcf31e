"""What a chain removes and leaves, and the draw from what is left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from explorer.decoding import (
    Candidates,
    Distribution,
    MinP,
    Observation,
    ParameterError,
    Stage,
    StatefulStep,
    Temperature,
    TopK,
    TopP,
    advance,
    decode,
    draw,
    uniform,
)

P4 = [0.1, 0.4, 0.2, 0.3]  # most probable first: ids 1, 3, 2, 0
MASK64 = 2**64 - 1


@dataclass(frozen=True, slots=True)
class DropRanks:
    """Cuts from the middle, as no tail rule does."""

    label: ClassVar[str] = "drop ranks"
    ranks: tuple[int, ...]

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        keep = [place for place in range(len(candidates)) if place + 1 not in self.ranks]
        return Candidates(candidates.token_ids[keep], candidates.logits[keep])


@dataclass(frozen=True, slots=True)
class Counting:
    """Keeps as many as the context is long, and counts the tokens that were drawn."""

    label: ClassVar[str] = "counting"
    mu: float | None = None

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return candidates.first(max(1, len(context)))

    def observed(self, stage: Stage, token_id: int) -> Observation:
        assert stage.step is self
        mu = self.mu or 0.0
        return Observation(0.0, mu, None, None, len(stage.kept), float(token_id), mu + 1)

    def advanced(self, stage: Stage, token_id: int) -> "Counting":
        return replace(self, mu=self.observed(stage, token_id).next_mu)


def test_an_empty_chain_leaves_the_distribution() -> None:
    trace = decode(np.log(P4), [])
    assert trace.final is trace.distribution.candidates
    assert trace.probabilities == pytest.approx(P4)
    assert trace.stages == ()


def test_each_stage_says_what_it_kept_and_removed() -> None:
    chain = [TopK(3), Temperature(2), MinP(0.8)]
    top_k, temperature, min_p = decode(np.log(P4), chain).stages
    assert [top_k.step, temperature.step, min_p.step] == chain
    assert (top_k.kept.token_ids.tolist(), top_k.removed.tolist()) == ([1, 3, 2], [0])
    assert (temperature.kept.token_ids.tolist(), temperature.removed.tolist()) == ([1, 3, 2], [])
    # sqrt(0.3 / 0.4) = 0.87, sqrt(0.2 / 0.4) = 0.71
    assert (min_p.kept.token_ids.tolist(), min_p.removed.tolist()) == ([1, 3], [2])


def test_what_is_removed_comes_most_probable_first() -> None:
    assert decode(np.log(P4), [TopK(1)]).stages[0].removed.tolist() == [3, 2, 0]


def test_a_rule_that_cuts_from_the_middle_is_seen_too() -> None:
    trace = decode(np.log(P4), [DropRanks((1, 3))])
    assert trace.stages[0].removed.tolist() == [1, 2]
    assert trace.final.token_ids.tolist() == [3, 0]
    assert trace.probabilities == pytest.approx([0.25, 0, 0, 0.75])
    assert trace.cut_by(1) == trace.cut_by(2) == "drop_ranks"


def test_cut_by_names_the_step_that_cut() -> None:
    trace = decode(np.log(P4), [TopK(3), TopP(0.5)])
    # 4/9, 3/9 and 2/9 after top-k: two reach one half.
    assert [trace.cut_by(token_id) for token_id in range(4)] == ["top_k", None, "top_p", None]


@pytest.mark.parametrize("token_id", [-1, 4, 10**30])
def test_cut_by_refuses_ids_outside_the_vocabulary(token_id: int) -> None:
    with pytest.raises(ValueError, match=f"token_id must be from 0 to 3, got {token_id}"):
        decode(np.log(P4), []).cut_by(token_id)


def test_stages_that_cut_hold_minus_1_for_survivors() -> None:
    cut = decode(np.log(P4), [Temperature(2), TopK(3), TopK(2)]).stages_that_cut
    assert cut.tolist() == [1, -1, 2, -1]


def test_a_rule_sees_the_context() -> None:
    assert len(decode(np.log(P4), [Counting()], (5, 5, 5)).final) == 3
    assert len(decode(np.log(P4), [Counting()]).final) == 1


def test_a_distribution_is_used_as_it_stands() -> None:
    distribution = Distribution.from_logits(np.log(P4))
    assert decode(distribution, [TopK(2)]).distribution is distribution


def test_a_partial_distribution_decodes_among_what_is_known() -> None:
    known = Distribution(np.array([7, 2, 4]), np.log([0.4, 0.3, 0.1]), coverage=0.8, vocab_size=10)
    trace = decode(known, [TopK(2)])
    assert len(trace.probabilities) == 10
    assert trace.probabilities[[7, 2, 4]] == pytest.approx([4 / 7, 3 / 7, 0])
    assert trace.probabilities.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "logits", [[math.nan, 1], [math.inf, 1], [-math.inf, -math.inf], [], [[1.0]], 3]
)
def test_bad_logits_are_an_error(logits: Any) -> None:
    with pytest.raises(ValueError, match="logits"):
        decode(logits, [TopK(2)])


@pytest.mark.parametrize(
    ("u", "token_id"),
    [(0.0, 1), (0.399, 1), (0.401, 3), (0.699, 3), (0.701, 2), (0.899, 2), (0.901, 0)],
)
def test_draw_lays_the_tokens_out_in_rank_order(u: float, token_id: int) -> None:
    assert draw(decode(np.log(P4), []), u) == token_id


def test_draw_is_from_the_final_distribution() -> None:
    trace = decode(np.log(P4), [TopK(2)])  # 4/7 and 3/7
    assert [draw(trace, u) for u in (0.0, 0.57, 0.58, 0.999)] == [1, 1, 3, 3]


def test_the_share_of_a_token_ends_where_the_next_begins() -> None:
    trace = decode(np.zeros(4), [])  # exactly 1/4 each
    assert [draw(trace, u) for u in (0.25, 0.5, 0.75)] == [1, 2, 3]
    below = [math.nextafter(u, 0) for u in (0.25, 0.5, 0.75, 1.0)]
    assert [draw(trace, u) for u in below] == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [2, 3, 7, 10, 1000, 32_000])
def test_the_largest_u_draws_the_last_possible_token(size: int) -> None:
    logits = np.concatenate((np.random.default_rng(size).normal(size=size), [-math.inf] * 3))
    last = int(np.argmin(logits[:size]))
    assert draw(decode(logits, []), math.nextafter(1, 0)) == last


def test_one_possible_token_is_drawn_by_every_u() -> None:
    trace = decode([-math.inf, 0.0, -math.inf], [])
    assert {draw(trace, u) for u in (0.0, 0.5, math.nextafter(1, 0))} == {1}


@pytest.mark.parametrize("u", [-0.1, 1, 1.0, 1.5, math.nan, math.inf, True, "0.5", None])
def test_u_is_a_number_in_0_to_1(u: Any) -> None:
    with pytest.raises(ValueError, match=r"\bu must be"):
        draw(decode(np.log(P4), []), u)


def test_advance_leaves_stateless_steps_alone() -> None:
    chain = (TopK(3), Temperature(0.5))
    assert advance(chain, decode(np.log(P4), chain), 1) == chain


def test_advance_gives_each_stateful_step_its_next_state() -> None:
    chain = (Counting(), TopK(3), Counting(8.0))
    assert isinstance(chain[0], StatefulStep)
    assert not isinstance(chain[1], StatefulStep)
    trace = decode(np.log(P4), chain)
    assert advance(chain, trace, 1) == (Counting(1.0), TopK(3), Counting(9.0))
    assert chain == (Counting(), TopK(3), Counting(8.0))


def test_advance_wants_the_trace_of_its_own_chain() -> None:
    with pytest.raises(ValueError, match="zip"):
        advance((TopK(3),), decode(np.log(P4), []), 1)


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds of Philox-4x64 as in Salmon et al. (2011), section 3.3."""
    for _ in range(10):
        left, right = counter[0] * 0xD2E7470EE14C6C93, counter[2] * 0xCA5A826395121157
        counter = [
            (right >> 64) ^ counter[1] ^ key[0],
            right & MASK64,
            (left >> 64) ^ counter[3] ^ key[1],
            left & MASK64,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) & MASK64, (key[1] + 0xBB67AE8584CAA73B) & MASK64]
    return counter


def test_the_reference_generator_gives_its_published_first_block() -> None:
    assert philox4x64([0] * 4, [0] * 2) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


@pytest.mark.parametrize(
    ("seed", "position"), [(0, 0), (0, 7), (1, 7), (2**63, 5), (MASK64, MASK64), (12345, 2047)]
)
def test_uniform_is_philox_keyed_by_seed_and_position(seed: int, position: int) -> None:
    word = philox4x64([1, 0, 0, 0], [seed, position])[0]  # NumPy counts up before each block
    assert uniform(seed, position) == (word >> 11) / 2**53 == uniform(seed, position)


def test_what_is_no_seed_is_refused_also_after_its_equal() -> None:
    assert uniform(1, 0) == uniform(1, 0)
    for seed in (1.0, True):
        with pytest.raises(ParameterError):
            uniform(seed, 0)


def test_uniform_differs_by_seed_and_by_position() -> None:
    draws = {uniform(seed, position) for seed in range(40) for position in range(40)}
    assert len(draws) == 1600


def test_uniform_is_uniform_over_positions() -> None:
    count = 10_000
    draws = np.sort([uniform(7, position) for position in range(count)])
    assert draws[0] >= 0
    assert draws[-1] < 1
    grid = np.arange(count + 1) / count
    distance = max(np.max(grid[1:] - draws), np.max(draws - grid[:-1]))
    assert distance * math.sqrt(count) < 1.95  # Kolmogorov-Smirnov at 0.001


def test_neighbouring_positions_are_independent() -> None:
    draws = np.array([uniform(3, position) for position in range(4001)])
    cells = np.histogram2d(draws[:-1], draws[1:], bins=4, range=[[0, 1], [0, 1]])[0]
    assert ((cells - 250) ** 2 / 250).sum() < 37.7  # chi-square, 15 degrees of freedom, 0.001


@pytest.mark.parametrize("bad", [-1, 2**64, 10**30, 1.0, 0.5, math.nan, True, None, "0"])
def test_seed_and_position_are_whole_numbers_of_64_bits(bad: Any) -> None:
    with pytest.raises(ParameterError, match="seed must be a whole number from 0"):
        uniform(bad, 0)
    with pytest.raises(ParameterError, match="position must be a whole number from 0"):
        uniform(0, bad)
