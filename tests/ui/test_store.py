"""Everybody's sessions: kept apart, kept for a while, kept to a number."""

import threading

import pytest

from explorer.settings import Limits
from explorer.ui.store import KEY, TIME_TO_LIVE_S, SessionStore


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> SessionStore:
    return SessionStore(clock)


def test_the_same_key_is_the_same_slot(store: SessionStore) -> None:
    assert store.slot("a") is store.slot("a")
    assert store.slot("a") is not store.slot("b")
    assert len(store) == 2


def test_a_new_slot_is_empty(store: SessionStore) -> None:
    slot = store.slot("a")
    assert slot.session is None
    assert not slot.lock.locked()


def test_locks_are_not_shared(store: SessionStore) -> None:
    with store.slot("a").lock:
        assert not store.slot("b").lock.locked()


def test_a_slot_lives_for_a_while(store: SessionStore, clock: Clock) -> None:
    slot = store.slot("a")
    clock.now = TIME_TO_LIVE_S
    store.slot("b")
    assert len(store) == 2
    assert store.slot("a") is slot


def test_a_slot_that_nobody_used_goes(store: SessionStore, clock: Clock) -> None:
    slot = store.slot("a")
    clock.now = TIME_TO_LIVE_S + 1
    store.slot("b")
    assert len(store) == 1
    assert store.slot("a") is not slot


def test_using_a_slot_keeps_it(store: SessionStore, clock: Clock) -> None:
    slot = store.slot("a")
    for now in range(0, 4 * TIME_TO_LIVE_S, TIME_TO_LIVE_S // 2):
        clock.now = now
        assert store.slot("a") is slot


def test_all_stale_slots_go_at_once(store: SessionStore, clock: Clock) -> None:
    for key in "abc":
        store.slot(key)
    clock.now = TIME_TO_LIVE_S + 1
    store.slot("d")
    assert len(store) == 1


def test_of_too_many_the_one_used_longest_ago_goes(clock: Clock) -> None:
    store = SessionStore(clock, Limits(sessions=3))
    slots = {key: store.slot(key) for key in "abc"}
    store.slot("a")
    store.slot("d")
    assert len(store) == 3
    assert store.slot("a") is slots["a"]
    assert store.slot("c") is slots["c"]
    assert store.slot("b") is not slots["b"]


def test_many_threads_get_one_slot(store: SessionStore) -> None:
    found = []
    threads = [threading.Thread(target=lambda: found.append(store.slot("a"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len({id(slot) for slot in found}) == 1


@pytest.mark.parametrize("key", ["0" * 36, "123e4567-e89b-12d3-a456-426614174000"])
def test_a_key_is_a_uuid(key: str) -> None:
    assert KEY.fullmatch(key)


@pytest.mark.parametrize(
    "key", ["", "0" * 35, "0" * 37, "0" * 36 + "\n", "A" * 36, "g" * 36, "../" * 12, "\0" * 36]
)
def test_what_is_no_key(key: str) -> None:
    assert not KEY.fullmatch(key)
