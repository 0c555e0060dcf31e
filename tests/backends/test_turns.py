"""Turns at the model: first come, first served, together where it can be."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from explorer.backends.base import Asker, AskerGone, TooBusy, asked_by
from explorer.backends.turns import Turns

WAIT_S = 10


class Model:
    """Writes down what each pass was asked, and can be held up."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.parts: dict[str, int] = {}  # passes that a key needs besides its last
        self.broken: set[str] = set()
        self.seconds = 0.0

    def serve(self, keys: list[str]) -> dict[str, str]:
        self.passes.append(list(keys))
        time.sleep(self.seconds)
        if self.broken & set(keys):
            raise RuntimeError(f"{min(self.broken)} breaks the pass")
        found = {}
        for key in keys:
            self.parts[key] = self.parts.get(key, 0) - 1
            if self.parts[key] < 0:
                found[key] = key.upper()
        return found


class Held:
    """A turn that is under way until it is let go; meanwhile others come, one after another."""

    def __init__(self, turns: Turns[str, str]) -> None:
        self._turns, self._pool = turns, ThreadPoolExecutor(40)
        self._begun, self._go = threading.Event(), threading.Event()
        self._first = self._pool.submit(turns.alone, self._hold)
        assert self._begun.wait(WAIT_S)
        self._waiting = 1
        self.come_so_far: list[Future[Any]] = []

    def _hold(self) -> None:
        self._begun.set()
        assert self._go.wait(WAIT_S)

    def come(self, ask: Callable[..., Any], *arguments: Any, joins: bool = False) -> Future[Any]:
        future = self._pool.submit(ask, *arguments)
        self.come_so_far.append(future)
        self._waiting += not joins
        end = time.monotonic() + WAIT_S
        while len(self._turns._waiting) < self._waiting:
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(0.01 if joins else 0)
        return future

    def let_go(self) -> None:
        self._go.set()
        self._first.result(WAIT_S)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def turns(model: Model) -> Turns[str, str]:
    return Turns(model.serve, together=4)


def test_who_comes_alone_is_served_at_once(turns: Turns[str, str], model: Model) -> None:
    assert turns.ask("a") == "A"
    assert turns.alone(lambda: 7) == 7
    assert model.passes == [["a"]]
    assert not turns.others_wait


def test_all_who_wait_share_the_next_pass_oldest_first(turns, model: Model) -> None:
    held = Held(turns)
    answers = [held.come(turns.ask, key) for key in "dbcaef"]
    assert turns.others_wait
    held.let_go()
    assert [answer.result(WAIT_S) for answer in answers] == list("DBCAEF")
    assert model.passes == [["d", "b", "c", "a"], ["e", "f"]]


def test_who_asks_the_same_shares_the_answer(turns, model: Model) -> None:
    held = Held(turns)
    answers = [held.come(turns.ask, "a"), held.come(turns.ask, "b")]
    answers += [held.come(turns.ask, "a", joins=True) for _ in range(5)]
    held.let_go()
    assert [answer.result(WAIT_S) for answer in answers] == ["A", "B", *"AAAAA"]
    assert model.passes == [["a", "b"]]


def test_work_of_its_own_comes_in_its_turn(turns, model: Model) -> None:
    held, order = Held(turns), []
    turns_taken = [
        held.come(turns.ask, "a"),
        held.come(turns.alone, lambda: order.append(("x", len(model.passes)))),
        held.come(turns.alone, lambda: order.append(("y", len(model.passes)))),
        held.come(turns.ask, "b"),
    ]
    held.let_go()
    for turn in turns_taken:
        turn.result(WAIT_S)
    assert order == [("x", 1), ("y", 1)]
    assert model.passes == [["a", "b"]]


def test_a_step_waits_for_one_long_turn_and_no_more(turns, model: Model) -> None:
    """Thirty who each open a text, and one who clicks again and again."""
    held = Held(turns)

    def read() -> None:
        model.passes.append(["text"])
        time.sleep(0.02)  # in which the next click comes

    texts = [held.come(turns.alone, read) for _ in range(30)]
    clicks = held.come(lambda: [turns.ask("click") for _ in range(10)])
    held.let_go()
    for turn in (*texts, clicks):
        turn.result(WAIT_S)
    assert model.passes[:20] == [["click"], ["text"]] * 10
    assert model.passes[20:] == [["text"]] * 20


def test_steps_that_never_end_do_not_starve_a_long_turn(turns, model: Model) -> None:
    held = Held(turns)
    done = threading.Event()
    runs = []

    def run(name: str) -> int:
        steps = 0
        while not done.is_set() and steps < 10_000:
            turns.ask(f"{name}{steps}")
            steps += 1
        return steps

    runs = [held.come(run, name) for name in "abcdefgh"]  # twice as many as share a pass
    model.parts["long"] = 3
    held.come(turns.ask, "long")
    texts = [held.come(turns.alone, lambda: len(model.passes)) for _ in range(3)]
    held.let_go()
    last = max(text.result(WAIT_S) for text in texts)
    held.come_so_far[8].result(WAIT_S)
    done.set()
    assert last <= 20
    assert max(run.result(WAIT_S) for run in runs) < 10_000


def test_a_long_turn_gives_way_after_each_part(turns, model: Model) -> None:
    model.parts["long"] = 3
    held = Held(turns)
    done: list[str] = []
    answers = [
        held.come(turns.ask, "long"),
        held.come(turns.alone, lambda: done.append(f"after {len(model.passes)} pass")),
        held.come(turns.ask, "click"),
    ]
    held.let_go()
    for answer in answers:
        answer.result(WAIT_S)
    assert model.passes == [["long", "click"], ["long"], ["long"], ["long"]]
    assert done == ["after 1 pass"]


def test_nobody_pays_for_what_another_asked(turns, model: Model) -> None:
    model.broken = {"b"}
    held = Held(turns)
    answers = {key: held.come(turns.ask, key) for key in "abc"}
    held.let_go()
    assert answers["a"].result(WAIT_S) == "A"
    assert answers["c"].result(WAIT_S) == "C"
    with pytest.raises(RuntimeError, match="b breaks"):
        answers["b"].result(WAIT_S)
    with pytest.raises(RuntimeError, match="b breaks"):
        turns.ask("b")
    assert turns.ask("d") == "D"


def test_work_that_fails_fails_for_its_own(turns) -> None:
    def fail() -> None:
        raise ValueError("mine")

    held = Held(turns)
    mine, other = held.come(turns.alone, fail), held.come(turns.ask, "a")
    held.let_go()
    assert other.result(WAIT_S) == "A"
    with pytest.raises(ValueError, match="mine"):
        mine.result(WAIT_S)


def test_forty_threads_at_random_all_get_their_own(turns, model: Model) -> None:
    model.seconds = 0.001

    def many(number: int) -> list[str]:
        return [
            turns.ask(f"k{number}-{i}") if i % 5 else turns.alone(lambda i=i: f"w{number}-{i}")
            for i in range(50)
        ]

    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(many, range(40)))
    for number, answers in enumerate(found):
        assert answers == [f"K{number}-{i}" if i % 5 else f"w{number}-{i}" for i in range(50)]
    assert len(model.passes) < 40 * 40
    assert not turns.others_wait


def left_by() -> tuple[Asker, threading.Event]:
    left = threading.Event()
    return Asker(left.is_set), left


def for_asker(asker: Asker, ask: Callable[..., Any], *arguments: Any) -> Any:
    with asked_by(asker):
        return ask(*arguments)


def test_what_nobody_waits_for_any_more_is_not_computed(turns, model: Model) -> None:
    held, (gone, left) = Held(turns), left_by()
    work: list[str] = []
    abandoned = [
        held.come(for_asker, gone, turns.ask, "b"),
        held.come(for_asker, gone, turns.alone, lambda: work.append("done")),
    ]
    held.come(turns.ask, "a")
    held.come(turns.ask, "c")
    left.set()
    held.let_go()
    assert [answer.result(WAIT_S) for answer in held.come_so_far[2:]] == ["A", "C"]
    for answer in abandoned:
        with pytest.raises(AskerGone):
            answer.result(WAIT_S)
    assert (model.passes, work) == ([["a", "c"]], [])
    assert not turns.others_wait and turns.ask("d") == "D"


def test_an_answer_that_somebody_else_waits_for_too_is_computed(turns, model: Model) -> None:
    held, (gone, left), (here, _) = Held(turns), left_by(), left_by()
    held.come(for_asker, gone, turns.ask, "a")
    answer = held.come(for_asker, here, turns.ask, "a", joins=True)
    left.set()
    held.let_go()
    assert answer.result(WAIT_S) == "A"
    assert model.passes == [["a"]]


def test_a_long_turn_ends_after_the_part_in_which_its_asker_left(turns, model: Model) -> None:
    asker, left = left_by()
    model.parts["long"] = 10

    def serve(keys: list[str]) -> dict[str, str]:
        if len(model.passes) == 2:
            left.set()
        return model.serve(keys)

    mine: Turns[str, str] = Turns(serve, together=4)
    with pytest.raises(AskerGone):
        for_asker(asker, mine.ask, "long")
    assert model.passes == [["long"]] * 3
    with pytest.raises(AskerGone):
        for_asker(asker, mine.ask, "again")
    assert len(model.passes) == 3


def test_who_comes_when_too_many_wait_is_told_so(model: Model) -> None:
    turns: Turns[str, str] = Turns(model.serve, together=4, limit=3)
    held, (asker, _) = Held(turns), left_by()
    held.come(turns.ask, "a")
    held.come(for_asker, asker, turns.ask, "b")
    with pytest.raises(TooBusy) as raised:
        turns.ask("c")
    assert raised.value.facts == {"waiting": 3, "limit": 3}
    with pytest.raises(TooBusy):
        turns.alone(lambda: 1)
    joined = held.come(turns.ask, "a", joins=True)  # costs nothing
    more = held.come(for_asker, asker, turns.ask, "d")  # the rest of what was let in
    held.let_go()
    assert [joined.result(WAIT_S), more.result(WAIT_S)] == ["A", "D"]
    assert model.passes == [["a", "b", "d"]]
    assert turns.ask("c") == "C"
