"""Standing anywhere in a prompt, to see what was likely there."""

import pytest

from explorer.backends import ScriptedBackend
from explorer.session import Prompt, Session

A, B, C = 0, 1, 2


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend([b"a", b"b", b"c"], {(A,): [0.2, 0.7, 0.1]}, context_length=20)


def test_a_jump_predicts_the_token_that_stood_there(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("abc")).jump(backend, 1)
    assert session.prefix == (A,)
    assert session.trace(backend).probabilities.tolist() == pytest.approx([0.2, 0.7, 0.1])
    assert session.go_to(2).prefix == (A, B, C)  # the rest is still there
    assert session.go_to(1).now.tree.path[0].choice is not None


def test_undo_brings_the_prompt_back(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("abc"))
    assert session.jump(backend, 2).undo().now == session.now


def test_what_was_continued_stays_behind_the_rest_of_the_prompt(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("ab")).pick(backend, C).jump(backend, 1)
    assert [session.go_to(number).prefix for number in (1, 2)] == [(A, B), (A, B, C)]
    assert session.pick(backend, B).now.tree.cursor == 3  # picked, not typed: its own node


@pytest.mark.parametrize("position", [-1, 0, 3, 10**30])
def test_a_place_outside_the_prompt_is_refused(backend: ScriptedBackend, position: int) -> None:
    with pytest.raises(ValueError, match="position must be from 1 to 2"):
        Session.start("m", backend, Prompt("abc")).jump(backend, position)


def test_any_node_can_be_gone_to_named_and_deleted_and_undone(backend: ScriptedBackend) -> None:
    begun = Session.start("m", backend, Prompt("a"))
    session = begun.pick(backend, B).pick(backend, C).go_to(1)
    assert session.prefix == (A, B)
    named = session.mark(2, name="x").mark(2, pinned=True)
    assert (named.now.tree.node(2).name, named.now.tree.node(2).pinned) == ("x", True)
    assert named.undo().undo().now == session.now
    deleted = named.delete(1)
    assert deleted.prefix == (A,) and deleted.now.tree.children(0) == ()
    assert deleted.undo().now == named.now
    assert named.go_to(0).prefix == (A,)
