"""Everything a user does, and the way back from it."""

import copy
import dataclasses

import pytest

from explorer.backends import ScriptedBackend
from explorer.backends.base import ContextTooLong, NoChatTemplate, NothingToPredict, TokenOutOfRange
from explorer.decoding import Temperature, TopK, decode, draw, uniform
from explorer.session import Prompt, Session

A, B, C, D = range(4)
SCRIPT = {
    (A,): [0.1, 0.2, 0.3, 0.4],
    (A, D): [0.6, 0.2, 0.1, 0.1],
    (A, D, A): [0.1, 0.1, 0.1, 0.7],
}


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend([b"a", b"b", b"c", b"d"], SCRIPT, context_length=6)


@pytest.fixture
def session(backend: ScriptedBackend) -> Session:
    return Session.start("m", backend, Prompt("a"))


def run(session: Session, backend: ScriptedBackend, action: str, count: int) -> Session:
    for done in range(count):
        session = getattr(session, action)(backend, joined=done > 0)
    return session


def test_a_session_starts_at_its_prompt(session: Session) -> None:
    assert session.prefix == (A,)
    assert (session.past, session.future, session.chain, session.seed) == ((), (), (), 0)
    assert session.undo() is session
    assert session.redo() is session


def test_stepping_takes_the_most_probable_token(session: Session, backend: ScriptedBackend) -> None:
    session = session.step(backend).step(backend).step(backend)
    assert session.prefix == (A, D, A, D)
    assert [node.how for node in session.now.tree.path] == ["greedy"] * 3


def test_any_token_can_be_picked(session: Session, backend: ScriptedBackend) -> None:
    session = session.pick(backend, B)
    assert session.prefix == (A, B)
    assert session.now.tree.path[0].how == "picked"


def test_a_token_that_the_chain_cut_can_be_picked(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a"), (TopK(1),))
    assert session.pick(backend, A).prefix == (A, A)


@pytest.mark.parametrize("token_id", [-1, 4, 10**30])
def test_a_pick_outside_the_vocabulary_is_refused(
    session: Session, backend: ScriptedBackend, token_id: int
) -> None:
    with pytest.raises(TokenOutOfRange) as caught:
        session.pick(backend, token_id)
    assert caught.value.facts == {"token_id": token_id, "high": 3}


def test_sampling_draws_with_the_u_of_its_position(backend: ScriptedBackend) -> None:
    for seed in range(20):
        session = Session.start("m", backend, Prompt("a"), seed=seed).sample(backend)
        node = session.now.tree.path[0]
        assert (node.how, node.u) == ("sampled", uniform(seed, 1))
        expected = draw(decode(backend.next_distribution((A,)), ()), uniform(seed, 1))
        assert node.token_id == expected


def test_sampling_follows_the_chain(backend: ScriptedBackend) -> None:
    for seed in range(20):
        session = Session.start("m", backend, Prompt("a"), (TopK(1),), seed)
        assert session.sample(backend).prefix == (A, D)


def test_the_same_seed_takes_the_same_path(backend: ScriptedBackend) -> None:
    one = run(Session.start("m", backend, Prompt("a"), seed=5), backend, "sample", 5)
    two = run(Session.start("m", backend, Prompt("a"), seed=5), backend, "sample", 5)
    assert one.now == two.now


def test_another_seed_takes_another_path(backend: ScriptedBackend) -> None:
    paths = {
        run(Session.start("m", backend, Prompt("a"), seed=seed), backend, "sample", 5).prefix
        for seed in range(10)
    }
    assert len(paths) > 5


def test_rewinding_and_sampling_again_repeats_the_draws(
    session: Session, backend: ScriptedBackend
) -> None:
    there = run(session, backend, "sample", 4)
    again = run(there.rewind(1), backend, "sample", 3)
    assert again.now == there.now
    assert len(again.now.tree.nodes) == 4


def test_a_branch_is_found_again_and_not_made_twice(
    session: Session, backend: ScriptedBackend
) -> None:
    there = session.pick(backend, B).pick(backend, C)
    back = there.rewind(0).pick(backend, D).rewind(0).pick(backend, B).pick(backend, C)
    assert back.prefix == there.prefix
    assert len(back.now.tree.nodes) == 3


@pytest.mark.parametrize("depth", [-1, 3])
def test_rewinding_outside_the_path_is_refused(
    session: Session, backend: ScriptedBackend, depth: int
) -> None:
    with pytest.raises(ValueError, match="depth must be from 0 to 2"):
        session.step(backend).step(backend).rewind(depth)


def test_rewinding_to_where_one_stands_is_nothing(
    session: Session, backend: ScriptedBackend
) -> None:
    there = session.step(backend)
    assert there.rewind(1) is there
    assert session.reset() is session


def test_undo_and_redo_go_through_every_action(session: Session, backend: ScriptedBackend) -> None:
    states = [session]
    for act in (
        lambda s: s.pick(backend, B),
        lambda s: s.sample(backend),
        lambda s: s.step(backend),
        lambda s: s.rewind(1),
        lambda s: s.reset(),
        lambda s: s.ask("m", backend, Prompt("cc")),
        lambda s: s.ask("other", backend, Prompt("cc")),
    ):
        states.append(act(states[-1]))
    moments = [state.now for state in states]
    back = states[-1]
    for moment in reversed(moments[:-1]):
        back = back.undo()
        assert back.now == moment
    assert not back.past
    for moment in moments[1:]:
        back = back.redo()
        assert back.now == moment
    assert back == states[-1]


def test_a_new_action_ends_what_could_be_redone(session: Session, backend: ScriptedBackend) -> None:
    undone = session.pick(backend, B).undo()
    assert undone.future
    assert not undone.pick(backend, C).future
    assert not undone.step(backend, joined=True).future


def test_an_action_that_changes_nothing_keeps_what_can_be_redone(
    session: Session, backend: ScriptedBackend
) -> None:
    undone = session.pick(backend, B).undo()
    assert undone.rewind(0).redo().prefix == (A, B)


def test_one_undo_takes_back_a_joined_run(session: Session, backend: ScriptedBackend) -> None:
    before = session.pick(backend, D)
    after = run(before, backend, "sample", 4)
    assert len(after.prefix) == 6
    assert after.undo().now == before.now
    assert after.undo().redo().now == after.now


def test_two_runs_are_two_undos(session: Session, backend: ScriptedBackend) -> None:
    one = run(session, backend, "step", 2)
    two = run(one, backend, "step", 2)
    assert two.undo().now == one.now
    assert two.undo().undo().now == session.now


def test_reset_keeps_the_prompt_and_undo_brings_the_tree_back(
    session: Session, backend: ScriptedBackend
) -> None:
    there = session.pick(backend, B).rewind(0).pick(backend, C)
    reset = there.reset()
    assert (reset.prefix, reset.now.tree.nodes) == ((A,), ())
    assert reset.undo().now == there.now


def test_another_prompt_starts_a_new_tree(session: Session, backend: ScriptedBackend) -> None:
    there = session.step(backend)
    asked = there.ask("m", backend, Prompt("bc"))
    assert asked.prefix == (B, C)
    assert asked.now.prompt == Prompt("bc")
    assert asked.undo().prefix == there.prefix


def test_asking_keeps_chain_and_seed(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a"), (TopK(2),), 9)
    asked = session.ask("m", backend, Prompt("b"))
    assert (asked.chain, asked.seed) == ((TopK(2),), 9)


def test_undo_leaves_settings_alone(session: Session, backend: ScriptedBackend) -> None:
    there = dataclasses.replace(session.step(backend), chain=(Temperature(2),), seed=3)
    assert (there.undo().chain, there.undo().seed) == ((Temperature(2),), 3)


@pytest.mark.parametrize("action", ["step", "sample", "pick"])
def test_nothing_is_appended_to_a_full_context(
    session: Session, backend: ScriptedBackend, action: str
) -> None:
    full = run(session, backend, "step", 5)
    assert len(full.prefix) == 6
    with pytest.raises(ContextTooLong) as caught:
        full.pick(backend, A) if action == "pick" else getattr(full, action)(backend)
    assert caught.value.facts == {"length": 7, "limit": 6}


def test_a_prompt_that_fills_the_context_is_fine_and_a_longer_one_is_not(
    backend: ScriptedBackend,
) -> None:
    assert len(Session.start("m", backend, Prompt("abcdab")).prefix) == 6
    with pytest.raises(ContextTooLong) as caught:
        Session.start("m", backend, Prompt("abcdabc"))
    assert caught.value.facts == {"length": 7, "limit": 6}


def test_an_empty_prompt_needs_a_bos_token(session: Session, backend: ScriptedBackend) -> None:
    with pytest.raises(NothingToPredict):
        session.ask("m", backend, Prompt(""))
    with_bos = ScriptedBackend([b"a", b"<s>"], special=[1], bos_token_id=1)
    assert Session.start("m", with_bos, Prompt("")).prefix == (1,)


def test_a_chat_prompt_goes_through_the_template(backend: ScriptedBackend) -> None:
    class Chatty(ScriptedBackend):
        def encode_chat(self, messages):  # type: ignore[no-untyped-def]
            assert messages == [{"role": "user", "content": "b"}]
            return (C, *super().encode_chat(messages), D)

    chatty = Chatty([b"a", b"b", b"c", b"d"], chat=True)
    assert Session.start("m", chatty, Prompt("b", chat=True)).prefix == (C, B, D)
    with pytest.raises(NoChatTemplate):
        Session.start("m", backend, Prompt("b", chat=True))


def test_a_token_is_appended_by_its_id_and_never_through_text() -> None:
    backend = ScriptedBackend([b"a", b"b", b"ab"])
    session = Session.start("m", backend, Prompt("a")).pick(backend, 1)
    assert session.prefix == (0, 1)
    assert backend.encode("ab") == (2,)


def test_actions_leave_the_session_they_start_from_alone(
    session: Session, backend: ScriptedBackend
) -> None:
    before = copy.deepcopy(session)
    there = session.pick(backend, B)
    there.step(backend), there.sample(backend), there.undo(), there.reset(), there.rewind(0)
    assert session == before
    assert hash(session) == hash(before)
    with pytest.raises(dataclasses.FrozenInstanceError):
        session.seed = 1  # type: ignore[misc]


def test_going_back_and_forth_asks_the_model_once_per_prefix(
    session: Session, backend: ScriptedBackend
) -> None:
    there = session.step(backend).step(backend)
    forwards = backend.forwards
    there.rewind(0).step(backend).undo().redo().step(backend)
    assert forwards == backend.forwards == 2
