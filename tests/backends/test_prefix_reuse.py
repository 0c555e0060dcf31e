"""The model is asked once per prefix, and what is reused is never wrong."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import passes
from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory
from tests.backends import tiny
from tests.backends.reusing import (
    FULL_PASSES,
    LONG,
    REUSING,
    SHORT,
    assert_right,
    assert_scored_right,
    forwarded,
    in_threads,
    plain,
    random_moves,
    start_of,
    walk,
)


@pytest.fixture(params=REUSING)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def backend(name: str) -> LocalBackend:
    return tiny.backend(name)


# how much is forwarded


def test_a_prefix_is_forwarded_once(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    with forwarded(backend) as counts:
        backend.next_distribution(start)
        backend.next_distribution(start)
    assert counts == [len(start)]


def test_a_step_forwards_one_token(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    backend.next_distribution(start)
    with forwarded(backend) as counts:
        for end in range(1, 5):
            backend.next_distribution((*start, *range(50, 50 + end)))
    assert counts == [1, 1, 1, 1]


def test_a_visited_prefix_forwards_nothing(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    path = [(*start, *range(50, 50 + end)) for end in range(5)]
    for prefix in path:
        backend.next_distribution(prefix)
    with forwarded(backend) as counts:
        for prefix in reversed(path):
            backend.next_distribution(prefix)
    assert counts == []


@pytest.mark.parametrize("back", [1, 2, 5, 15])
def test_another_token_after_rewinding_forwards_one(
    name: str, backend: LocalBackend, back: int
) -> None:
    start = start_of(name)
    backend.next_distribution(start)
    with forwarded(backend) as counts:
        backend.next_distribution((*start[:-back], 350))
    assert counts == [1]
    assert_right(name, backend, (*start[:-back], 350))


def test_both_branches_can_go_on(name: str, backend: LocalBackend) -> None:
    start = start_of(name)[:-3]
    left, right = (*start, 50), (*start, 60)
    backend.next_distribution(left)
    backend.next_distribution(right)
    with forwarded(backend) as counts:
        backend.next_distribution((*left, 51))
        backend.next_distribution((*right, 61))
        backend.next_distribution((*left, 51, 52))
    assert counts == [1, 1, 1]
    assert_right(name, backend, (*left, 51, 52))
    assert_right(name, backend, (*right, 61))


def test_scoring_forwards_the_text_once(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    with forwarded(backend) as counts:
        backend.score(start)
        backend.score(start)
        backend.next_distribution(start)
    assert counts == [len(start)]


def test_a_step_after_scoring_forwards_one_token(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    backend.score(start)
    with forwarded(backend) as counts:
        backend.next_distribution((*start, 50))
    assert counts == [1]


def test_scores_after_steps_forward_nothing(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    backend.score(start)
    path = (*start, 50, 51, 52)
    for end in range(len(start), len(path)):
        backend.next_distribution(path[:end])
    with forwarded(backend) as counts:
        backend.score(path)
    assert counts == []
    assert_scored_right(name, backend, path)


def test_an_edited_end_forwards_what_differs(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    backend.next_distribution(start)
    edited = (*start[:-6], 350, 351, 352)
    with forwarded(backend) as counts:
        backend.next_distribution(edited)
    assert counts == [3]
    assert_right(name, backend, edited)


def test_scoring_an_edited_end_forwards_what_differs_and_one_more(
    name: str, backend: LocalBackend
) -> None:
    start = start_of(name)
    backend.score(start)
    edited = (*start[:-6], 350, 351, 352)
    with forwarded(backend) as counts:
        backend.score(edited)
    assert counts == [4]
    assert_scored_right(name, backend, edited)


def test_a_cache_of_another_first_token_is_of_no_use(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    backend.next_distribution(start)
    other = (start[0] + 1, *start[1:])
    with forwarded(backend) as counts:
        backend.next_distribution(other)
    assert counts == [len(other)]
    assert_right(name, backend, other)


def test_backends_of_other_names_share_a_memory_but_no_prefix() -> None:
    llama, gemma3 = tiny.backend("llama"), tiny.backend("gemma3")
    memory = PrefixMemory(tiny.BUDGET)
    backends = {
        name: LocalBackend(of.model, tiny.tokenizer_of(name), of.info, memory)
        for name, of in (("llama", llama), ("gemma3", gemma3))
    }
    for name, backend in backends.items():
        assert_right(name, backend, SHORT)
        assert_scored_right(name, backend, SHORT)


# whether it is right


MOVES = st.tuples(
    st.sampled_from(["step", "step", "rewind", "branch", "jump", "replace", "score"]),
    st.integers(0, 30),
    st.integers(0, tiny.VOCAB_SIZE - 1),
)


@settings(max_examples=12, deadline=None)
@given(moves=st.lists(MOVES, min_size=3, max_size=15))
def test_any_walk_gives_what_a_full_pass_gives(moves: list[tuple[str, int, int]]) -> None:
    for name in REUSING:
        walk(name, tiny.backend(name), moves)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_walk_gives_what_a_full_pass_gives(
    name: str, backend: LocalBackend, seed: int
) -> None:
    walk(name, backend, random_moves(seed, 40))


@pytest.mark.parametrize("name", FULL_PASSES)
def test_a_model_without_a_croppable_cache_makes_full_passes(name: str) -> None:
    backend = tiny.backend(name)
    backend.next_distribution(SHORT)
    with forwarded(backend) as counts:
        backend.next_distribution((*SHORT, 50))
        backend.next_distribution((*SHORT[:-4], 51))
        backend.next_distribution((*SHORT, 50))
    assert counts == [len(SHORT) + 1, len(SHORT) - 3]


@pytest.mark.parametrize("name", FULL_PASSES)
def test_a_model_without_a_croppable_cache_is_right(name: str) -> None:
    walk(name, tiny.backend(name), random_moves(4, 20))


# prefill in chunks


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 9])
def test_prefill_in_chunks_gives_the_same(
    name: str, backend: LocalBackend, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "PREFILL_CHUNK", chunk)
    start = start_of(name)
    with forwarded(backend) as counts:
        assert_right(name, backend, start)
    assert max(counts) == chunk
    assert sum(counts) == len(start)
    assert_right(name, backend, (*start[:-5], 350, 351, 352))


@pytest.mark.parametrize("rows", [1, 4, 10])
def test_scores_in_chunks_that_fit_give_the_same(
    name: str, backend: LocalBackend, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "LOGITS_BYTES", 4 * tiny.VOCAB_SIZE * rows + 3)
    start = start_of(name)
    with forwarded(backend) as counts:
        assert_scored_right(name, backend, start)
    assert max(counts) == rows
    assert sum(counts) == len(start)
    assert_right(name, backend, start)
    assert_scored_right(name, backend, (*start[:-5], 350, 351, 352))


def test_scores_in_chunks_over_a_lost_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "PREFILL_CHUNK", 4)
    backend = tiny.backend("llama")
    backend.score(LONG[:14])
    backend._memory.forget("cache", "llama", LONG[:14])
    assert_scored_right("llama", backend, LONG)


def test_scores_are_right_when_the_logits_of_one_token_exceed_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passes, "LOGITS_BYTES", 1)
    assert_scored_right("llama", tiny.backend("llama"), SHORT)


@pytest.mark.parametrize("name", FULL_PASSES)
def test_full_passes_are_not_chunked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "PREFILL_CHUNK", 4)
    backend = tiny.backend(name)
    assert_right(name, backend, SHORT)
    assert_scored_right(name, backend, (*SHORT, 9))


# the budget


@pytest.mark.parametrize("budget", [0, 1_000, 15_000, 40_000, 200_000])
def test_a_small_budget_forgets_but_is_right(
    name: str, budget: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    put = PrefixMemory.put

    def watched(memory: PrefixMemory, *args: Any) -> None:
        nonlocal most
        put(memory, *args)
        most = max(most, memory.used_bytes)

    monkeypatch.setattr(PrefixMemory, "put", watched)
    backend = tiny.backend(name, budget)
    walk(name, backend, random_moves(5, 25))
    assert most <= budget
    assert most > budget // 3 or budget <= 1_000


def test_stepping_keeps_one_cache(name: str, backend: LocalBackend) -> None:
    start = start_of(name)[:-3]
    for end in range(4):
        backend.next_distribution((*start, *range(50, 50 + end)))
    caches = [key[2] for key in backend._memory._store if key[0] == "cache"]
    assert caches == [(*start, 50, 51, 52)]


# many at once


def test_a_class_on_one_prompt_costs_one_forward(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    with forwarded(backend) as counts:
        answers = in_threads(8, lambda _: backend.next_distribution(start))
    assert counts == [len(start)]
    assert len({id(answer) for answer in answers}) == 1


def test_a_class_scoring_one_text_costs_one_forward(name: str, backend: LocalBackend) -> None:
    start = start_of(name)
    with forwarded(backend) as counts:
        answers = in_threads(8, lambda _: backend.score(start))
    assert counts == [len(start)]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("budget", [60_000, tiny.BUDGET])
def test_many_prefixes_at_once_are_all_right(name: str, budget: int) -> None:
    backend = tiny.backend(name, budget)
    start = start_of(name)
    source = random.Random(6)
    asked = [
        (*start[: source.randrange(1, len(start))], *source.choices(range(300), k=3))
        for _ in range(50)
    ]
    for prefix in asked:
        plain(name, prefix)

    def ask(number: int) -> None:
        for prefix in random.Random(number).sample(asked, len(asked)):
            assert_right(name, backend, prefix)

    in_threads(8, ask)
    assert backend._memory.used_bytes <= budget
