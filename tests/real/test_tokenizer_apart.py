"""The tokenizer of a second model, in a process of its own, against the one of its files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from explorer.backends.tokenizer_apart import TokenizerApart

pytestmark = pytest.mark.real
GEMMA3 = "gemma-3-270m"
PROMPT = "たとえば織田信長が美少女だというゲーム・アニメを中心にトレーニングしたら"


@pytest.fixture(scope="module")
def both(models_dir, gemma3):
    apart = TokenizerApart(models_dir / GEMMA3)
    assert apart.tokenizer() is apart
    yield apart, AutoTokenizer.from_pretrained(models_dir / GEMMA3)
    apart.end()


def test_every_entry_of_a_large_vocabulary_is_the_same(both):
    apart, here = both
    ids = range(len(here) + 64)
    assert apart.convert_ids_to_tokens(ids) == here.convert_ids_to_tokens(ids)
    assert apart.added_tokens_decoder == here.added_tokens_decoder


def test_a_japanese_prompt_gets_the_same_ids(both):
    apart, here = both
    assert apart(PROMPT, verbose=False)["input_ids"] == here(PROMPT)["input_ids"]


@given(st.text(max_size=60))
def test_any_text_gets_the_same_ids(both, text):
    apart, here = both
    assert apart(text, verbose=False)["input_ids"] == here(text)["input_ids"]
