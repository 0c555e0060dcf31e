"""Drawn paths, and taking a continuation that was found into the session's tree."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.backends.base import ContextTooLong, TokenOutOfRange
from explorer.decoding import (
    Chain,
    Constraint,
    Greedy,
    MirostatV1,
    MirostatV2,
    RepetitionPenalty,
    StatefulStep,
    Temperature,
    TopK,
    Xtc,
)
from explorer.session import (
    BeamSearch,
    DrawnPath,
    Prompt,
    Session,
    Tree,
    continue_text,
    run,
    tail,
)
from tests.backends import tiny
from tests.backends.reusing import forwarded

A, B, C, D = range(4)
MIROSTAT = (Temperature(0.8), MirostatV2(1, 0.3))
CHAINS: list[Chain] = [
    (),
    (Temperature(0.7), TopK(3)),
    (RepetitionPenalty(1.5), Xtc(0.1, 0.5)),
    MIROSTAT,
    (MirostatV1(2, 0.1), MirostatV2(1.5, 0.2)),
    (Constraint(regex="[ab]*"),),
    (Greedy(),),
]


class Varied(ScriptedBackend):
    """Other probabilities after each prefix."""

    def next_distribution(self, prefix):  # type: ignore[no-untyped-def]
        if prefix not in self._script:
            source = np.random.default_rng([7, *prefix])
            self._script[prefix] = source.dirichlet([0.7] * self.info.vocab_size).tolist()
        return super().next_distribution(prefix)


def varied(end_token_ids: tuple[int, ...] = (), context_length: int = 40) -> Varied:
    vocabulary = [b"a", b"b", b"c", b"d"]
    return Varied(vocabulary, end_token_ids=end_token_ids, context_length=context_length)


@pytest.fixture(scope="module")
def backend() -> Varied:
    return varied()


def start(backend: ScriptedBackend, chain: Chain = (), text: str = "a", seed: int = 0) -> Session:
    return Session.start("m", backend, Prompt(text), chain, seed)


def searched(search: DrawnPath, backend: ScriptedBackend) -> DrawnPath:
    for state in run(search, backend):
        search = state  # type: ignore[assignment]
    return search


# drawn paths


@pytest.mark.parametrize("ends", [(), (D,)])
@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_a_drawn_path_is_the_text_that_would_be_generated(
    chain: Chain, ends: tuple[int, ...]
) -> None:
    backend = varied(ends)
    for seed in range(8):
        path = searched(DrawnPath((A, B), chain, seed, 2, 9), backend)
        expected = list(continue_text(backend, (A, B), chain, seed, 9))
        assert [node.token_id for node in path.nodes] == [one.token_id for one in expected]
        assert [node.logprob for node in path.nodes] == [one.logprob for one in expected]
        assert path.chain == expected[-1].chain
        (found,) = path.paths()
        assert found.token_ids == tail(path.nodes, len(expected) - 1)
        assert found.finished and found.score is None
        assert found.total == pytest.approx(math.fsum(node.logprob for node in path.nodes))
        assert found.total == path.nodes[-1].total
        assert [node.ends for node in path.nodes] == [node.token_id in ends for node in path.nodes]
        assert [node.depth for node in path.nodes] == list(range(1, len(expected) + 1))
        assert [node.parent for node in path.nodes] == list(range(-1, len(expected) - 1))


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_a_drawn_path_from_a_place_in_the_tree_is_what_sampling_there_gives(
    backend: Varied, chain: Chain
) -> None:
    session = start(backend, chain, seed=4).sample(backend).sample(backend)
    path = DrawnPath(session.prefix, session.chain_here, session.seed, 1, 5)
    path = searched(path, backend)
    before = len(session.prefix)
    for _ in range(5):
        session = session.sample(backend)
    assert tail(path.nodes, 4) == session.prefix[before:]


@pytest.mark.parametrize("chain", [(), (RepetitionPenalty(2.0), Temperature(0.5)), MIROSTAT])
def test_the_greedy_path_is_the_most_probable_token_again_and_again(
    backend: Varied, chain: Chain
) -> None:
    session = start(backend, chain)
    path = searched(DrawnPath((A,), (*chain, Greedy()), 0, 1, 6), backend)
    for _ in range(6):
        session = session.step(backend)
    assert (A, *tail(path.nodes, 5)) == session.prefix


def test_a_path_shows_itself_while_it_grows(backend: Varied) -> None:
    path = DrawnPath((A,), (), 3, 1, 3)
    assert (path.paths(), path.done) == ((), False)
    first, second, third = run(path, backend)
    assert [one.done for one in (first, second, third)] == [False, False, True]
    assert [one.paths()[0].finished for one in (first, second, third)] == [False, False, True]
    assert third.paths()[0].token_ids[:2] == second.paths()[0].token_ids
    assert third.advance(backend) is third
    assert path.advance(backend) == first  # a value: nothing changed it


def test_a_path_ends_with_an_end_token() -> None:
    backend = ScriptedBackend([b"a", b"."], {(A,): [0.0, 1.0]}, end_token_ids=(1,))
    path = searched(DrawnPath((A,), (), 0, 1, 9), backend)
    assert (tail(path.nodes, 0), path.done, path.nodes[0].ends) == ((1,), True, True)


def test_a_path_goes_no_further_than_the_context() -> None:
    backend = varied(context_length=5)
    path = searched(DrawnPath((A, B), (), 0, 2, 9), backend)
    assert len(path.nodes) == 3
    with pytest.raises(ContextTooLong) as caught:
        DrawnPath((A,) * 5, (), 0, 2, 9).advance(backend)
    assert caught.value.facts == {"length": 6, "limit": 5}


def test_no_action_but_another_search_changes_what_lies_ahead(backend: Varied) -> None:
    search = BeamSearch((A,), 2, 2).advance(backend)
    session = replace(start(backend), ahead=search)
    for after in (
        session.pick(backend, B),
        session.sample(backend),
        session.adopt(backend, (A,), (B, C)),
        session.pick(backend, B).undo(),
        session.pick(backend, B).reset(),
    ):
        assert after.ahead is search
    assert hash(session) == hash(replace(session))


# adopting


def texts(tree: Tree) -> set[tuple[int, ...]]:
    return {tree.at(node.node_id).prefix for node in tree.nodes if not node.deleted}


def mus(chain: Chain) -> list[float | None]:
    return [step.mu for step in chain if isinstance(step, StatefulStep)]


def picked(session: Session, backend: ScriptedBackend, token_ids: Sequence[int]) -> Session:
    for token_id in token_ids:
        session = session.pick(backend, token_id)
    return session


@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_adopting_is_picking_one_by_one_with_one_undo(backend: Varied, chain: Chain) -> None:
    session = start(backend, chain)
    adopted = session.adopt(backend, (A,), (C, B, B, D))
    one_by_one = picked(session, backend, (C, B, B, D))
    assert adopted.now == one_by_one.now
    assert mus(adopted.chain_here) == mus(one_by_one.chain_here)
    assert adopted.undo().now == session.now
    assert adopted.undo().redo().now == adopted.now
    assert len(adopted.past) == 1


@settings(max_examples=30, deadline=None)
@given(
    token_ids=st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple),
    taken=st.integers(0, 7),
    chain=st.sampled_from([(), MIROSTAT, (MirostatV1(2, 0.1),)]),
)
def test_adopting_from_any_place_leads_to_the_same_states(
    token_ids: tuple[int, ...], taken: int, chain: Chain
) -> None:
    backend = varied()
    first, rest = token_ids[:taken], token_ids[taken:]
    grown = picked(start(backend, chain), backend, first)
    adopted = grown.adopt(backend, grown.prefix, rest)
    whole = start(backend, chain).adopt(backend, (A,), token_ids)
    assert adopted.now == whole.now
    assert adopted.prefix == (A, *token_ids)


def test_nodes_that_are_there_are_used_again(backend: Varied) -> None:
    session = picked(start(backend), backend, (B, C, D)).rewind(0)
    adopted = session.adopt(backend, (A,), (B, C, A, A))
    assert len(adopted.now.tree.nodes) == 5
    assert adopted.prefix == (A, B, C, A, A)
    assert texts(adopted.now.tree) == {
        (A, B), (A, B, C), (A, B, C, D), (A, B, C, A), (A, B, C, A, A),
    }  # fmt: skip
    assert adopted.undo().now == session.now
    again = adopted.adopt(backend, (A,), (B, C, A, A))
    assert again is adopted  # nothing new, and nowhere to go: no action


def test_a_token_that_was_sampled_is_another_choice(backend: Varied) -> None:
    sampled = start(backend).sample(backend)
    (node,) = sampled.now.tree.nodes
    adopted = sampled.adopt(backend, (A,), (node.token_id,))
    assert [(one.token_id, one.how) for one in adopted.now.tree.nodes] == [
        (node.token_id, "sampled"),
        (node.token_id, "picked"),
    ]


def test_adopting_after_going_elsewhere(backend: Varied) -> None:
    session = picked(start(backend, MIROSTAT), backend, (B, C))
    search = DrawnPath(session.prefix, (), 1, 1, 3)
    elsewhere = picked(session.rewind(0), backend, (D, D))
    (path,) = searched(search, backend).paths()
    adopted = elsewhere.adopt(backend, search.prefix, path.token_ids)
    assert adopted.prefix == (A, B, C, *path.token_ids)
    assert adopted.now.tree.nodes[:4] == elsewhere.now.tree.nodes
    assert adopted.now.tree.nodes[4].parent_id == 2
    assert adopted.undo().prefix == (A, D, D)
    direct = picked(session, backend, path.token_ids)
    assert mus(adopted.chain_here) == mus(direct.chain_here)


def test_adopting_clears_what_could_be_done_again(backend: Varied) -> None:
    session = start(backend).pick(backend, B).undo()
    assert session.future
    assert session.adopt(backend, (A,), (C,)).future == ()


def test_adopting_nothing_goes_to_the_prefix(backend: Varied) -> None:
    session = picked(start(backend), backend, (B, C))
    assert session.adopt(backend, (A, B), ()).prefix == (A, B)
    assert session.adopt(backend, session.prefix, ()) is session


def test_a_prefix_that_is_not_in_the_tree_is_refused(backend: Varied) -> None:
    session = picked(start(backend, text="ab"), backend, (C,))
    gone = session.delete(1)
    for one, prefix in [(session, (A,)), (session, (A, B, D)), (session, ()), (gone, (A, B, C))]:
        with pytest.raises(ValueError, match="the tree does not hold this prefix"):
            one.adopt(backend, prefix, (D,))


def test_more_than_the_context_is_refused() -> None:
    backend = varied(context_length=4)
    session = start(backend)
    assert session.adopt(backend, (A,), (B, C, D)).prefix == (A, B, C, D)
    with pytest.raises(ContextTooLong) as caught:
        session.adopt(backend, (A,), (B, C, D, D))
    assert caught.value.facts == {"length": 5, "limit": 4}


def test_a_token_outside_the_vocabulary_is_refused(backend: Varied) -> None:
    with pytest.raises(TokenOutOfRange):
        start(backend).adopt(backend, (A,), (B, 4))


def test_adopting_costs_one_pass_and_gives_the_same_numbers_as_the_search() -> None:
    backend = tiny.backend("llama")
    session = Session.start("m", backend, Prompt("the dog"))
    session.trace(backend)
    path = searched(DrawnPath(session.prefix, (), 5, len(session.prefix), 6), backend)  # type: ignore[arg-type]
    fresh = tiny.backend("llama")
    session.trace(fresh)
    with forwarded(fresh) as counts:
        adopted = session.adopt(fresh, session.prefix, path.paths()[0].token_ids)
    assert len(counts) == 1
    for node, ahead in zip(adopted.now.tree.path, path.nodes, strict=True):
        assert node.choice is not None
        assert node.choice.logprob == pytest.approx(ahead.logprob, abs=1e-4)
    with forwarded(fresh) as counts:
        adopted.trace(fresh)
    assert counts == []


# finding


def test_finding_a_prefix_stands_at_its_end() -> None:
    tree = Tree((7, 8)).grown(3, "picked").grown(4, "picked").at(0).grown(5, "picked")
    for prefix in [(7, 8), (7, 8, 3), (7, 8, 3, 4), (7, 8, 5)]:
        found = tree.find(prefix)
        assert found is not None
        assert (found.prefix, found.nodes) == (prefix, tree.nodes)
    for prefix in [(), (7,), (7, 9), (8, 7), (7, 8, 4), (7, 8, 5, 4), (7, 8, 3, 4, 4)]:
        assert tree.find(prefix) is None


def test_a_deleted_branch_is_not_found() -> None:
    tree = Tree((7,)).grown(3, "picked").grown(4, "picked").without(1)
    assert tree.find((7, 3)) is None
    assert tree.find((7, 3, 4)) is None
    again = tree.grown(3, "picked").at(0).find((7, 3))
    assert again is not None and again.cursor == 3


def test_of_siblings_with_one_token_the_one_that_goes_on_is_found() -> None:
    tree = Tree((7,)).grown(3, "picked").at(0).grown(3, "sampled", 0.5).grown(4, "picked").at(0)
    longer, shorter = tree.find((7, 3, 4)), tree.find((7, 3))
    assert longer is not None and longer.cursor == 3
    assert shorter is not None and shorter.cursor == 1
    there = tree.at(2).find((7, 3))
    assert there is not None and there.cursor == 2  # who stands there stays


@given(
    growth=st.lists(
        st.tuples(
            st.integers(0, 20),
            st.integers(0, 2),
            st.sampled_from(["picked", "greedy"]),
            st.booleans(),
        ),
        max_size=15,
    )
)
def test_what_is_found_is_what_is_there(growth: list[tuple[int, int, str, bool]]) -> None:
    tree = Tree((7,))
    for place, token_id, how, deletes in growth:
        there = [0, *(node.node_id for node in tree.nodes if not node.deleted)]
        at = there[place % len(there)]
        tree = tree.without(at) if deletes and at else tree.at(at).grown(token_id, how)  # type: ignore[arg-type]
    held = texts(tree) | {(7,)}
    every = {prefix + more for prefix in held for more in [(), (0,), (1,), (2,)]}
    for prefix in every:
        found = tree.find(prefix)
        assert (found is not None) == (prefix in held)
        assert found is None or (found.prefix, found.nodes) == (prefix, tree.nodes)
