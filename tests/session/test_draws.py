"""The last draw as it was, and the next one as it will be."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from explorer.backends import ScriptedBackend
from explorer.backends.base import GrammarRefused
from explorer.decoding import (
    Chain,
    Constraint,
    Fit,
    Grammar,
    MirostatV2,
    Temperature,
    TopK,
    Trace,
    Xtc,
    draw,
    uniform,
)
from explorer.session import Prompt, Session, trace_prefix
from explorer.session.tracing import bind

A, B, C, D = range(4)
SCRIPT = {(A,): [0.4, 0.3, 0.2, 0.1], (A, B): [0.1, 0.2, 0.3, 0.4]}
XTC = (Xtc(0.15, 0.5),)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend([b"a", b"b", b"c", b"d"], SCRIPT, context_length=30)


def start(backend: ScriptedBackend, chain: Chain = (), seed: int = 0) -> Session:
    return Session.start("m", backend, Prompt("a"), chain, seed)


def ids(trace: Trace) -> list[int]:
    return trace.final.token_ids.tolist()


@pytest.mark.parametrize(
    "chain",
    [(), XTC, (TopK(3), Xtc(0.2, 0.5), MirostatV2(1, 0.5)), (Xtc(0.1, 0.3), Xtc(0.05, 0.7))],
    ids=repr,
)
def test_the_next_draw_gives_the_token_that_is_sampled(
    backend: ScriptedBackend, chain: Chain
) -> None:
    for seed in range(40):
        session = start(backend, chain, seed)
        for _ in range(5):
            foretold = session.next_draw(backend)
            token_id = draw(foretold, uniform(seed, len(session.prefix)))
            session = session.sample(backend)
            assert session.prefix[-1] == token_id
            drawn_from = session.last_draw(backend)
            assert drawn_from is not None
            assert drawn_from.probabilities.tolist() == foretold.probabilities.tolist()
            assert [stage.step for stage in drawn_from.stages] == [
                stage.step for stage in foretold.stages
            ]


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_the_coin_falls_as_often_as_it_says_over_seeds_and_places(
    backend: ScriptedBackend, probability: float
) -> None:
    fired = 0
    for seed in range(50):
        session = start(backend, (Xtc(0.15, probability),), seed)
        for _ in range(20):
            (stage,) = session.next_draw(backend).stages
            fires = len(stage.kept) < len(stage.before)
            assert fires == (uniform(seed, len(session.prefix), stream=1) < probability)
            fired += fires
            session = session.pick(backend, D)
    assert stats.binomtest(fired, 1000, probability).pvalue > 1e-3


def test_what_is_shown_is_what_the_rule_does_when_it_fires(backend: ScriptedBackend) -> None:
    for seed in range(10):
        assert ids(start(backend, XTC, seed).trace(backend)) == [C, D]


def test_the_last_draw_is_kept_when_the_rules_change(backend: ScriptedBackend) -> None:
    session = start(backend, (TopK(2), Temperature(0.5))).sample(backend)
    u = session.now.tree.path[0].u
    assert u is not None
    for chain in ((), (TopK(1),), (Temperature(3),)):
        drawn_from = replace(session, chain=chain, seed=99).last_draw(backend)
        assert drawn_from is not None
        # 0.4 and 0.3 squared: 16 to 9.
        assert drawn_from.probabilities == pytest.approx([16 / 25, 9 / 25, 0, 0])
        assert draw(drawn_from, u) == session.prefix[-1]


def test_the_last_draw_keeps_the_state_it_was_made_with(backend: ScriptedBackend) -> None:
    session = start(backend, (MirostatV2(1, 0.5),), 3)
    for _ in range(6):
        before = session.chain_here
        session = session.sample(backend)
        drawn_from = session.last_draw(backend)
        assert drawn_from is not None
        assert tuple(stage.step for stage in drawn_from.stages) == before


def test_a_token_that_was_not_drawn_has_no_draw(backend: ScriptedBackend) -> None:
    session = start(backend, XTC)
    assert session.last_draw(backend) is None
    assert session.pick(backend, B).last_draw(backend) is None
    assert session.step(backend).last_draw(backend) is None
    there = session.sample(backend).pick(backend, B)
    assert there.last_draw(backend) is None
    assert there.rewind(1).last_draw(backend) is not None
    assert there.rewind(0).last_draw(backend) is None


def test_looking_at_draws_asks_the_model_nothing_new(backend: ScriptedBackend) -> None:
    session = start(backend, XTC).sample(backend)
    session.trace(backend)
    forwards = backend.forwards
    session.last_draw(backend), session.next_draw(backend)
    assert backend.forwards == forwards


@dataclass(frozen=True)
class Turns:
    """A grammar that allows tokens by turns, and remembers where it was bound."""

    start: int
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def fit(self, context: Sequence[int]) -> Fit:
        self.asked.append(tuple(context))
        return "open"

    def allowed(self, context: Sequence[int]) -> NDArray[np.bool_]:
        return np.arange(4) % 2 == (len(context) - self.start) % 2


class WithTurns(ScriptedBackend):
    bound: list[tuple[Constraint, int]]

    def grammar(self, constraint: Constraint, start: int) -> Grammar:
        self.bound = [*getattr(self, "bound", []), (constraint, start)]
        return Turns(start)


def test_a_constraint_is_bound_where_the_prompt_ends() -> None:
    backend = WithTurns([b"a", b"b", b"c", b"d"], SCRIPT)
    constraint = Constraint(regex="x")
    for prompt in ("a", "ab", "abcd"):
        session = Session.start("m", backend, Prompt(prompt), (TopK(4), constraint))
        assert sorted(ids(session.trace(backend))) == [A, C]
        there = session.pick(backend, A)
        assert sorted(ids(there.trace(backend))) == [B, D]
        assert sorted(ids(there.next_draw(backend))) == [B, D]
        drawn = there.sample(backend)
        assert drawn.prefix[-1] in (B, D)
        drawn_from = drawn.last_draw(backend)
        assert drawn_from is not None
        assert sorted(ids(drawn_from)) == [B, D]
        assert {start for _, start in backend.bound} == {len(prompt)}
        backend.bound = []


def test_a_session_keeps_no_grammar() -> None:
    backend = WithTurns([b"a", b"b", b"c", b"d"], SCRIPT)
    session = start(backend, (Constraint(regex="x"),)).step(backend).pick(backend, B)
    session = session.rewind(0).sample(backend)
    for node in session.now.tree.nodes:
        assert node.choice is not None
        for step in (*node.choice.chain, *node.choice.after, *session.chain_here):
            assert isinstance(step, Constraint)
            assert step.grammar is None


def test_binding_touches_constraints_alone() -> None:
    backend = WithTurns([b"a", b"b", b"c", b"d"])
    constraint = Constraint(json_schema="{}")
    bound = bind(backend, (TopK(2), constraint, Temperature(0.5)), 7)
    assert bound == (TopK(2), constraint, Temperature(0.5))
    assert isinstance(bound[1], Constraint)
    assert bound[1].grammar == Turns(7)
    assert backend.bound == [(constraint, 7)]


def test_a_bad_constraint_is_told_before_the_model_runs(backend: ScriptedBackend) -> None:
    with pytest.raises(GrammarRefused):
        trace_prefix(backend, (A,), (Constraint(regex="("),), 1)
    assert backend.forwards == 0


def test_a_text_that_must_fit_a_regular_expression(backend: ScriptedBackend) -> None:
    session = start(backend, (Constraint(regex="bc|d"),))
    assert sorted(ids(session.trace(backend))) == [B, D]
    assert ids(session.pick(backend, B).trace(backend)) == [C]
    # A picked token that does not fit sets the text free.
    assert len(ids(session.pick(backend, A).trace(backend))) == 4
