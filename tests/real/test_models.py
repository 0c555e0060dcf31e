"""The two real models, against plain transformers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from explorer.backends.local import LocalBackend
from explorer.backends.prefix_memory import PrefixMemory
from explorer.decoding import PRESETS
from explorer.session import continue_text

pytestmark = pytest.mark.real

ODA = (
    "たとえば織田信長が美少女だというゲーム・アニメを中心にトレーニングしたら"
    "織田信長が美少女だと思ってしまう。織田信長は美少女"
)
PROMPTS = {"smollm2": "The capital of France is", "gemma3": ODA}


def fresh(backend: LocalBackend) -> LocalBackend:
    """The same weights with nothing remembered."""
    return LocalBackend(backend.model, backend.tokenizer, backend.info, PrefixMemory(2**30))


def full_pass(backend: LocalBackend, prefix: tuple[int, ...]) -> np.ndarray:
    """Probabilities at every position of one plain forward pass without a cache, `(n, V)`."""
    with torch.inference_mode():
        logits = backend.model(torch.tensor([prefix]), use_cache=False).logits[0]
        return logits.double().softmax(-1).numpy()


def by_token(distribution) -> np.ndarray:
    return distribution.probabilities[distribution.positions]


@contextmanager
def counted(backend: LocalBackend) -> Iterator[list[int]]:
    """How many tokens each forward pass reads."""
    passes: list[int] = []
    hook = backend.model.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    yield passes
    hook.remove()


@pytest.fixture(params=PROMPTS)
def model(request) -> tuple[LocalBackend, tuple[int, ...]]:
    backend = fresh(request.getfixturevalue(request.param))
    return backend, backend.encode(PROMPTS[request.param])


def test_next_distribution_is_the_models_own(model):
    backend, prefix = model
    expected = full_pass(backend, prefix)[-1]
    np.testing.assert_allclose(by_token(backend.next_distribution(prefix)), expected, atol=1e-5)


def test_stepping_stays_equal_to_full_passes(model):
    backend, prefix = model
    for _ in range(6):
        distribution = backend.next_distribution(prefix)
        prefix = (*prefix, int(distribution.token_ids[0]))
    expected = full_pass(backend, prefix)[-1]
    np.testing.assert_allclose(by_token(backend.next_distribution(prefix)), expected, atol=1e-5)


def test_a_step_reads_one_token_and_a_visited_prefix_none(model):
    backend, prefix = model
    with counted(backend) as passes:
        backend.score(prefix)
        backend.next_distribution(prefix)
        assert passes == [len(prefix)]
        longer = prefix
        for _ in range(3):
            longer = (*longer, int(backend.next_distribution(longer).token_ids[0]))
            backend.next_distribution(longer)
            backend.score(longer)
        assert passes == [len(prefix), 1, 1, 1]
        for end in range(len(prefix), len(longer) + 1):
            backend.next_distribution(longer[:end])
            backend.score(longer[:end])
        assert passes == [len(prefix), 1, 1, 1]
        branch = (*prefix, int(backend.next_distribution(prefix).token_ids[7]))
        backend.next_distribution(branch)
        assert passes == [len(prefix), 1, 1, 1, 1]


def test_scores_are_those_of_a_full_pass(model):
    backend, prefix = model
    probabilities = full_pass(backend, prefix)
    scored = backend.score(prefix)
    assert scored[0].logprob is None and scored[0].rank is None and scored[0].entropy is None
    for position in range(1, len(prefix)):
        row, token_id = probabilities[position - 1], prefix[position]
        assert scored[position].logprob == pytest.approx(np.log(row[token_id]), abs=1e-3)
        assert scored[position].rank == 1 + int((row > row[token_id]).sum())
        entropy = -(row * np.log(np.maximum(row, 1e-300))).sum()
        assert scored[position].entropy == pytest.approx(entropy, abs=1e-3)


def test_past_the_sliding_window_nothing_changes(gemma3):
    backend = fresh(gemma3)
    window = backend.model.config.sliding_window
    prefix = backend.encode(ODA * 20)[: window + 90]
    assert len(prefix) > window
    backend.score(prefix[:-4])
    for end in range(len(prefix) - 3, len(prefix) + 1):
        backend.next_distribution(prefix[:end])  # steps across and past the window
    back = (*prefix[: window + 10], prefix[3])  # goes back past the window and elsewhere
    with counted(backend) as passes:
        backend.next_distribution(back)
        assert passes == [1]
    for tokens in (prefix, back):
        expected = full_pass(backend, tokens)[-1]
        np.testing.assert_allclose(by_token(backend.next_distribution(tokens)), expected, atol=1e-3)


def test_the_articles_words_stand_where_they_should(gemma3):
    distribution = gemma3.next_distribution(gemma3.encode(ODA))
    words = [gemma3.token(int(token)).raw.decode() for token in distribution.token_ids[:8]]
    assert [words.index(word) + 1 for word in ("だ", "だった", "である")] == [3, 4, 7]


def test_tokens_spell_the_text_that_was_encoded(smollm2, gemma3):
    text = "Hello,  world 12\n\t日本語の𠮷野家 👩‍👩‍👧 \x00 naïve"
    for backend in (smollm2, gemma3):
        tokens = [backend.token(token_id) for token_id in backend.encode(text)]
        assert b"".join(token.raw for token in tokens if not token.special).decode() == text


def test_digits_are_split_off_as_in_training(smollm2):
    """SmolLM2's own tokenizer takes digits out first, so the spaces before one stay together."""
    raws = [smollm2.token(token_id).raw for token_id in smollm2.encode("a  12")]
    assert raws == [b"a", b"  ", b"1", b"2"]


def test_many_threads_get_the_right_answers(smollm2):
    backend = fresh(smollm2)
    prompts = [backend.encode(f"The number after {n} is") for n in range(6)]
    expected = [full_pass(backend, prompt)[-1] for prompt in prompts]
    wrong = []

    def ask(number: int) -> None:
        got = by_token(backend.next_distribution(prompts[number % 6]))
        if not np.allclose(got, expected[number % 6], atol=1e-5):
            wrong.append(number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(24)]
    with counted(backend) as passes:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == [] and len(passes) == 6  # a class on one prompt costs one pass


def test_greedy_generation_equals_transformers_generate(smollm2):
    prefix = smollm2.encode("Once upon a time")
    ours = [d.token_id for d in continue_text(smollm2, prefix, PRESETS["greedy"], 0, 24)]
    with torch.inference_mode():
        theirs = smollm2.model.generate(
            torch.tensor([prefix]),
            attention_mask=torch.ones(1, len(prefix), dtype=torch.long),
            max_new_tokens=24,
            do_sample=False,
        )[0, len(prefix) :].tolist()
    assert ours == theirs
