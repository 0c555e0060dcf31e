"""Passes and the work on their answers take turns."""

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from explorer.backends import alternation as module
from explorer.backends.alternation import Alternation
from explorer.backends.base import Asker, asked_by


def asked(work: Callable[[], None]) -> threading.Thread:
    """A thread that answers one request."""

    def answer() -> None:
        with asked_by(Asker(lambda: False)):
            work()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    return thread


class Moments:
    """Events by name, so that a test says what happens after what."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._events: dict[str, threading.Event] = {}

    def reach(self, name: str) -> None:
        self.seen.append(name)
        self._event(name).set()

    def wait(self, name: str) -> None:
        assert self._event(name).wait(5), f"{name} did not happen"

    def _event(self, name: str) -> threading.Event:
        return self._events.setdefault(name, threading.Event())


def test_a_pass_begins_when_the_answers_to_the_last_one_are_made() -> None:
    taking_turns, moments = Alternation(), Moments()

    def answer() -> None:
        with taking_turns.waiting():
            pass
        moments.reach("answering")
        moments.wait("go on")
        moments.reach("answered")

    def run_pass() -> None:
        with taking_turns.quiet():
            moments.reach("pass")

    thread = asked(answer)
    moments.wait("answering")
    asked(run_pass)
    moments.reach("go on")
    moments.wait("pass")
    thread.join(5)
    assert moments.seen == ["answering", "go on", "answered", "pass"]


def test_an_answer_begins_when_no_pass_is_under_way() -> None:
    taking_turns, moments = Alternation(), Moments()

    def run_pass() -> None:
        with taking_turns.quiet():
            moments.reach("pass")
            moments.wait("go on")
            moments.reach("passed")

    def answer() -> None:
        with taking_turns.waiting():
            moments.reach("served")
        moments.reach("answering")

    asked(run_pass)
    moments.wait("pass")
    asked(answer)
    moments.wait("served")
    moments.reach("go on")
    moments.wait("answering")
    assert moments.seen == ["pass", "served", "go on", "passed", "answering"]


def test_who_waits_again_is_not_waited_for() -> None:
    taking_turns, moments = Alternation(), Moments()

    def answer() -> None:
        with taking_turns.waiting():
            pass
        with taking_turns.waiting():
            moments.reach("waits again")
            moments.wait("pass")

    asked(answer)
    moments.wait("waits again")
    with taking_turns.quiet():
        moments.reach("pass")
    assert moments.seen == ["waits again", "pass"]


def test_an_answer_that_takes_long_holds_no_pass_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    taking_turns, moments = Alternation(), Moments()

    def answer() -> None:
        with taking_turns.waiting():
            pass
        moments.reach("answering")
        moments.wait("passed")

    thread = asked(answer)
    moments.wait("answering")
    with taking_turns.quiet():
        moments.reach("passed")
    thread.join(5)
    assert not thread.is_alive()


def test_a_pass_that_takes_long_holds_no_answer_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_PASS_S", 0.01)
    taking_turns, moments = Alternation(), Moments()

    def answer() -> None:
        with taking_turns.waiting():
            pass
        moments.reach("answering")

    with taking_turns.quiet():
        asked(answer)
        moments.wait("answering")


def test_who_asks_for_nobody_waits_for_nothing() -> None:
    taking_turns = Alternation()
    with taking_turns.waiting():
        pass
    with taking_turns.quiet():
        pass


def test_few_answers_are_made_at_once() -> None:
    taking_turns, moments = Alternation(), Moments()
    making: list[int] = []

    def answer(number: int) -> None:
        with taking_turns.waiting():
            pass
        making.append(number)
        if len(making) == module.AT_ONCE:
            moments.reach("full")
        moments.wait("go on")

    threads = [asked(partial(answer, number)) for number in range(module.AT_ONCE + 1)]
    moments.wait("full")
    time.sleep(module.PATIENCE_S / 4)  # for the one that must wait to show that it does not
    assert len(making) == module.AT_ONCE
    moments.reach("go on")
    for thread in threads:
        thread.join(5)
    assert len(making) == module.AT_ONCE + 1
