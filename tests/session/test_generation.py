"""Drawing tokens one after another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import (
    Candidates,
    Constraint,
    Distribution,
    MirostatV2,
    Observation,
    Stage,
    Temperature,
    TopK,
    Xtc,
    uniform,
)
from explorer.session import continue_text, draw_next

A, B, C, END = range(4)


@dataclass(frozen=True, slots=True)
class OneMoreEachTime:
    """Keeps one candidate at first, then two, then three."""

    label: ClassVar[str] = "one more"
    mu: float | None = None  # how many; 1 at first

    @property
    def count(self) -> int:
        return int(self.mu or 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return candidates.first(self.count)

    def observed(self, stage: Stage, token_id: int) -> Observation:
        return Observation(0, self.count, 0, 0, len(stage.kept), self.count, self.count + 1)

    def advanced(self, stage: Stage, token_id: int) -> "OneMoreEachTime":
        return replace(self, mu=self.observed(stage, token_id).next_mu)


@pytest.fixture
def backend() -> ScriptedBackend:
    script = {(A,): [0.5, 0.25, 0.125, 0.125], (A, A): [0.0, 0.0, 0.0, 1.0]}
    return ScriptedBackend(
        [b"a", b"b", b"c", b"</s>"], script, special=[END], end_token_ids=(END,), context_length=8
    )


def test_a_drawn_token_and_its_numbers(backend: ScriptedBackend) -> None:
    drawn = draw_next(backend, (A,), (TopK(2),), 0, 1)
    u = uniform(0, 1)
    assert drawn.u == u
    assert drawn.token_id == (A if u < 2 / 3 else B)
    assert drawn.rank == (1 if drawn.token_id == A else 2)
    assert drawn.raw_probability == pytest.approx(0.5 if drawn.token_id == A else 0.25)
    assert drawn.probability == pytest.approx(2 / 3 if drawn.token_id == A else 1 / 3)
    assert drawn.entropy == pytest.approx(1.75 * np.log(2))
    assert drawn.chain == drawn.applied == (TopK(2),)
    assert drawn.observed == ()


def test_every_candidate_is_drawn_as_often_as_its_probability_says(
    backend: ScriptedBackend,
) -> None:
    drawn = [draw_next(backend, (A,), (), seed, 1).token_id for seed in range(2000)]
    counts = np.bincount(drawn, minlength=4)
    expected = 2000 * np.array([0.5, 0.25, 0.125, 0.125])
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # chi-square, 3 degrees, 0.001


def test_the_number_that_draws_depends_on_the_length_of_the_prefix_alone(
    backend: ScriptedBackend,
) -> None:
    assert draw_next(backend, (B, C), (), 4, 2).u == draw_next(backend, (C, B), (), 4, 1).u
    assert draw_next(backend, (B,), (), 4, 1).u != draw_next(backend, (C, B), (), 4, 1).u


def test_continuing_stops_after_an_end_token(backend: ScriptedBackend) -> None:
    drawn = list(continue_text(backend, (A,), (TopK(1),), 0, 20))
    assert [token.token_id for token in drawn] == [A, END]


def test_continuing_stops_at_the_number_asked_for(backend: ScriptedBackend) -> None:
    drawn = list(continue_text(backend, (B,), (TopK(1),), 0, 3))
    assert [token.token_id for token in drawn] == [A, A, A]


def test_continuing_stops_when_the_context_is_full(backend: ScriptedBackend) -> None:
    assert len(list(continue_text(backend, (B,) * 5, (TopK(1),), 0, 20))) == 3
    assert list(continue_text(backend, (B,) * 8, (), 0, 20)) == []


@pytest.mark.parametrize("count", [0, -1])
def test_continuing_by_nothing(backend: ScriptedBackend, count: int) -> None:
    assert list(continue_text(backend, (A,), (), 0, count)) == []


def test_the_same_seed_continues_the_same_way(backend: ScriptedBackend) -> None:
    one = list(continue_text(backend, (B,), (Temperature(2),), 11, 7))
    assert one == list(continue_text(backend, (B,), (Temperature(2),), 11, 7))


def test_a_continuation_can_be_taken_up_in_its_middle(backend: ScriptedBackend) -> None:
    whole = list(continue_text(backend, (B,), (TopK(3),), 2, 6))
    prefix = (B, *(token.token_id for token in whole[:3]))
    assert list(continue_text(backend, prefix, (TopK(3),), 2, 3)) == whole[3:]


def test_a_stateful_step_moves_on_with_each_token(backend: ScriptedBackend) -> None:
    drawn = list(continue_text(backend, (B,), (OneMoreEachTime(),), 0, 3))
    assert [token.applied for token in drawn] == [(OneMoreEachTime(mu),) for mu in (None, 2, 3)]
    assert [token.chain for token in drawn] == [(OneMoreEachTime(mu),) for mu in (2, 3, 4)]
    assert [token.observed[0].kept for token in drawn] == [1, 2, 3]
    assert [token.probability for token in drawn] == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_partial_distribution_has_no_entropy() -> None:
    class Partial(ScriptedBackend):
        def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
            return Distribution(np.array([2, 0]), np.log([0.6, 0.2]), 0.8, self.info.vocab_size)

    drawn = draw_next(Partial([b"a", b"b", b"c"]), (A,), (TopK(1),), 0, 1)
    assert (drawn.token_id, drawn.rank, drawn.entropy) == (2, 1, None)
    assert drawn.raw_probability == pytest.approx(0.6)
    assert drawn.probability == pytest.approx(1)
    assert (drawn.bounds, drawn.unsent) == (None, (0.0, 0.0))


def test_a_draw_among_what_a_server_sent_says_what_it_leaves_out() -> None:
    server = ScriptedBackend(
        [b"a", b"b", b"c", b"d"], {(A,): [0.2, 0.1, 0.6, 0.1]}, top_n=2, model_id="server"
    )
    pure = draw_next(server, (A,), (), 0, 1)
    assert pure.probability == pytest.approx(pure.raw_probability)
    assert (pure.bounds, pure.unsent) == (None, pytest.approx((0.2, 0.2)))
    hot = draw_next(server, (A,), (Temperature(2.0),), 0, 1)
    assert hot.bounds is not None
    assert hot.bounds[0] <= hot.probability <= hot.bounds[1]
    assert hot.unsent[0] < hot.unsent[1]


def test_a_coin_is_thrown_for_the_draw_and_not_kept(backend: ScriptedBackend) -> None:
    chain = (Xtc(0.2, 0.5), TopK(2))
    fired = 0
    for seed in range(400):
        drawn = draw_next(backend, (A,), chain, seed, 1)
        fires = uniform(seed, 1, stream=1) < 0.5
        fired += fires
        assert drawn.applied == (Xtc(0.2, 1.0 if fires else 0.0), TopK(2))
        assert drawn.chain == chain  # the next token has a coin of its own
        # Of 0.5, 0.25, 0.125, 0.125 the second is the least that reaches 0.2.
        assert drawn.token_id in ({B, C} if fires else {A, B})
        ratio = {A: 2 / 3, B: 2 / 3 if fires else 1 / 3, C: 1 / 3}[drawn.token_id]
        assert drawn.probability == pytest.approx(ratio)
    assert 150 < fired < 250


def test_a_memory_in_the_middle_of_a_chain_goes_on(backend: ScriptedBackend) -> None:
    chain = (Temperature(2), MirostatV2(1, 0.5), TopK(3))
    mu = None
    for drawn in continue_text(backend, (B,), chain, 5, 6):
        assert drawn.applied == (Temperature(2), MirostatV2(1, 0.5, mu), TopK(3))
        (seen,) = drawn.observed
        assert seen.mu == (2 if mu is None else mu)
        mu = seen.next_mu
        assert drawn.chain == (Temperature(2), MirostatV2(1, 0.5, mu), TopK(3))


def test_a_constraint_begins_after_the_prompt(backend: ScriptedBackend) -> None:
    chain = (Constraint(regex="ab|cc"),)
    for seed in range(10):
        drawn = [token.token_id for token in continue_text(backend, (B, C), chain, seed, 2)]
        assert drawn in ([A, B], [C, C])
    # The same tokens in the prompt are no part of the text.
    assert draw_next(backend, (A,), (Constraint(regex="b"),), 0, 1).token_id == B
    assert draw_next(backend, (A,), (Constraint(regex="ac"),), 0, 0).token_id == C
