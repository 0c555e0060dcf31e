"""What a rule remembers is kept with each token: every way back restores it exactly."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.decoding import (
    Chain,
    MirostatV1,
    MirostatV2,
    StatefulStep,
    Temperature,
    TopK,
    decode,
    draw,
    uniform,
)
from explorer.session import Choice, Prompt, Session, Tree, read

A, B, C, D = range(4)
CHAIN = (Temperature(0.8), MirostatV2(1, 0.3))
BOTH = (MirostatV1(2, 0.1), MirostatV2(1.5, 0.2), MirostatV2(1, 0.4))


def probabilities(prefix: Sequence[int]) -> list[float]:
    generator = np.random.default_rng([7, *prefix])
    return generator.dirichlet([0.7] * 4).tolist()


@pytest.fixture(scope="module")
def backend() -> ScriptedBackend:
    class Varied(ScriptedBackend):
        def next_distribution(self, prefix):  # type: ignore[no-untyped-def]
            self._script.setdefault(prefix, probabilities(prefix))
            return super().next_distribution(prefix)

    return Varied([b"a", b"b", b"c", b"d"], context_length=40)


def start(backend: ScriptedBackend, chain: Chain = CHAIN, seed: int = 0) -> Session:
    return Session.start("m", backend, Prompt("a"), chain, seed)


def mus(chain: Chain) -> list[float | None]:
    return [step.mu for step in chain if isinstance(step, StatefulStep)]


def replayed(chain: Chain, prompt: tuple[int, ...], chosen: Sequence[int]) -> list[float | None]:
    """The states after these tokens, by the rules of decoding alone."""
    for end, token_id in enumerate(chosen):
        prefix = prompt + tuple(chosen[:end])
        trace = decode(np.log(probabilities(prefix)), chain, prefix)
        chain = tuple(
            step.advanced(stage, token_id) if isinstance(step, StatefulStep) else step
            for step, stage in zip(chain, trace.stages, strict=True)
        )
    return mus(chain)


@pytest.mark.parametrize("chain", [CHAIN, BOTH], ids=["one", "three"])
def test_each_token_moves_the_states_and_every_way_back_restores_them(
    backend: ScriptedBackend, chain: Chain
) -> None:
    sessions = [start(backend, chain)]
    for _ in range(8):
        sessions.append(sessions[-1].sample(backend))
    there = sessions[-1]
    here = [session.chain_here for session in sessions]
    assert len({tuple(mus(one)) for one in here}) == 9
    for count, session in enumerate(sessions):
        assert mus(session.chain_here) == pytest.approx(
            replayed(chain, (A,), session.prefix[1:]), nan_ok=False
        )
        assert there.rewind(count).chain_here == here[count]
    back = there
    for expected in reversed(here[:-1]):
        back = back.undo()
        assert back.chain_here == expected
    for expected in here[1:]:
        back = back.redo()
        assert back.chain_here == expected
    assert there.reset().chain_here == chain
    assert there.reset().undo().chain_here == here[-1]


def test_the_first_state_is_the_chains_own(backend: ScriptedBackend) -> None:
    assert start(backend).chain_here == CHAIN
    set_by_hand = (MirostatV2(1, 0.3, 2.75),)
    assert start(backend, set_by_hand).chain_here == set_by_hand


def test_a_draw_is_from_the_state_reached(backend: ScriptedBackend) -> None:
    for seed in range(20):
        session, chain = start(backend, seed=seed), CHAIN
        for _ in range(6):
            trace = decode(np.log(probabilities(session.prefix)), chain, session.prefix)
            expected = draw(trace, uniform(seed, len(session.prefix)))
            session = session.sample(backend)
            assert session.prefix[-1] == expected
            chain = (CHAIN[0], trace.stages[1].step.advanced(trace.stages[1], expected))  # type: ignore[attr-defined]


def test_a_branch_has_states_of_its_own(backend: ScriptedBackend) -> None:
    first = start(backend).pick(backend, B).pick(backend, C)
    second = first.rewind(1).pick(backend, D)
    assert second.rewind(1).chain_here == first.rewind(1).chain_here
    assert second.chain_here != first.chain_here
    assert second.rewind(1).pick(backend, C).chain_here == first.chain_here
    assert len(second.rewind(1).pick(backend, C).now.tree.nodes) == 3


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["sample", "step", "B", "D", "back", "undo", "redo"]), max_size=25))
def test_the_states_depend_on_the_path_alone(backend: ScriptedBackend, acts: list[str]) -> None:
    session = start(backend, BOTH, seed=3)
    for act in acts:
        if act in ("sample", "step"):
            session = getattr(session, act)(backend)
        elif act in ("B", "D"):
            session = session.pick(backend, {"B": B, "D": D}[act])
        elif act == "back":
            session = session.rewind(len(session.now.tree.path) // 2)
        else:
            session = getattr(session, act)()
    assert mus(session.chain_here) == pytest.approx(replayed(BOTH, (A,), session.prefix[1:]))


def test_a_token_that_was_cut_can_be_picked_and_moves_mu(backend: ScriptedBackend) -> None:
    session = start(backend, (MirostatV2(0.2, 0.5),))
    (stage,) = session.trace(backend).stages
    assert len(stage.kept) == 1
    worst = int(stage.before.token_ids[-1])
    (node,) = session.pick(backend, worst).now.tree.path
    assert node.choice is not None
    (seen,) = node.choice.observed
    # Measured on what the rule was given: the model's own distribution.
    surprise = -np.log2(probabilities((A,))[worst])
    assert seen.surprise == pytest.approx(surprise)
    assert mus(node.choice.after) == pytest.approx([0.4 - 0.5 * (surprise - 0.2)])


def test_a_token_that_never_came_to_the_rule_leaves_mu_alone(backend: ScriptedBackend) -> None:
    session = start(backend, (TopK(1), MirostatV2(1, 0.5, 1.75)))
    worst = int(session.trace(backend).distribution.token_ids[-1])
    there = session.pick(backend, worst)
    assert mus(there.chain_here) == [1.75]
    choice = there.now.tree.path[0].choice
    assert choice is not None
    assert choice.observed[0].surprise is None


def test_another_target_in_the_middle_keeps_mu(backend: ScriptedBackend) -> None:
    there = start(backend).sample(backend).sample(backend)
    (mu,) = mus(there.chain_here)
    moved = replace(there, chain=(Temperature(1.2), TopK(3), MirostatV2(3, 0.1)))
    assert moved.chain_here == (Temperature(1.2), TopK(3), MirostatV2(3, 0.1, mu))
    going_on = moved.sample(backend)
    choice = going_on.now.tree.path[-1].choice
    assert choice is not None
    assert choice.observed[0].mu == mu
    # Back to the prompt, where nothing has moved it yet.
    assert moved.rewind(0).chain_here == moved.chain


def test_a_rule_added_in_the_middle_starts_at_its_beginning(backend: ScriptedBackend) -> None:
    there = start(backend, (TopK(3),)).sample(backend).sample(backend)
    added = replace(there, chain=(TopK(3), MirostatV2(1, 0.3)))
    assert mus(added.chain_here) == [None]
    assert mus(added.sample(backend).chain_here) != [None]


def test_a_rule_taken_out_and_put_back_goes_on_until_a_token_is_chosen(
    backend: ScriptedBackend,
) -> None:
    there = start(backend).sample(backend)
    assert replace(replace(there, chain=()), chain=CHAIN).chain_here == there.chain_here
    without = replace(there, chain=()).sample(backend)
    assert mus(replace(without, chain=CHAIN).chain_here) == [None]


def test_the_same_pick_under_other_stateless_rules_is_one_node(backend: ScriptedBackend) -> None:
    session = start(backend, (TopK(2),)).pick(backend, B)
    again = replace(session.rewind(0), chain=(Temperature(2),)).pick(backend, B)
    assert len(again.now.tree.nodes) == 1
    assert again.now.tree.cursor == session.now.tree.cursor
    best = replace(session.rewind(0), chain=()).step(backend)
    again = replace(best.rewind(0), chain=(TopK(3),)).step(backend)
    assert len(again.now.tree.nodes) == len(best.now.tree.nodes) == 2


def test_the_same_pick_that_leaves_another_state_is_another_node(backend: ScriptedBackend) -> None:
    session = start(backend).pick(backend, B)
    other = replace(session.rewind(0), chain=(MirostatV2(2, 0.3),)).pick(backend, B)
    assert len(other.now.tree.nodes) == 2
    assert other.chain_here != session.chain_here


def test_a_draw_under_another_chain_is_another_node(backend: ScriptedBackend) -> None:
    for seed in range(30):
        session = start(backend, (), seed).sample(backend)
        again = session.rewind(0).sample(backend)
        assert len(again.now.tree.nodes) == 1
        other = replace(session.rewind(0), chain=(Temperature(1.01),)).sample(backend)
        assert len(other.now.tree.nodes) == 2
        assert other.now.tree.path[0].u == session.now.tree.path[0].u


def test_nodes_without_a_choice_are_told_apart_by_what_they_are() -> None:
    tree = Tree((A,)).grown(B, "picked")
    plain = Choice((TopK(1),), (TopK(1),))
    assert len(tree.at_depth(0).grown(B, "picked", None, plain).nodes) == 1
    moved = Choice((), (MirostatV2(1, 0.1, 3),))
    assert len(tree.at_depth(0).grown(B, "picked", None, moved).nodes) == 2


def test_a_session_with_a_memory_is_still_a_value(backend: ScriptedBackend) -> None:
    one = start(backend, BOTH).sample(backend).pick(backend, B)
    two = start(backend, BOTH).sample(backend).pick(backend, B)
    assert one == two
    assert hash(one) == hash(two)


def test_looking_moves_nothing(backend: ScriptedBackend) -> None:
    there = start(backend).sample(backend)
    before = there.chain_here
    for _ in range(3):
        read(there, backend, 5), there.trace(backend), there.next_draw(backend)
        there.last_draw(backend)
    assert there.chain_here == before
