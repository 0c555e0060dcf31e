"""A tokenizer in a process of its own answers as one in this process does."""

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import psutil
import pytest
from transformers import AutoTokenizer

from explorer.backends import LocalModels, tokenizer_apart
from explorer.backends.local import open_local
from explorer.backends.tokenizer_apart import TokenizerApart
from explorer.backends.vocabulary import tokenizer_family
from tests.backends import tiny

TEXTS = ["", "The quick brown fox", "  two  spaces\n", "日本語の言葉。", "a\x00b", "👩‍👩‍👧", "</s>"]
CHAT = {"add_generation_prompt": True, "return_dict": True}


@pytest.fixture
def apart(saved_llama: Path) -> Iterator[Any]:
    started = TokenizerApart(saved_llama)
    assert started.tokenizer() is started
    yield started
    started.end()


@pytest.fixture(scope="module")
def here(saved_llama: Path) -> Any:
    return AutoTokenizer.from_pretrained(saved_llama)


def test_texts_get_the_same_ids(apart: Any, here: Any) -> None:
    for text in TEXTS:
        assert apart(text, verbose=False)["input_ids"] == here(text)["input_ids"], text


def test_conversations_get_the_same_ids(apart: Any, here: Any) -> None:
    messages = [{"role": "user", "content": "次の言葉は?"}]
    answer = apart.apply_chat_template(messages, **CHAT)
    assert answer["input_ids"] == here.apply_chat_template(messages, **CHAT)["input_ids"]


def test_what_a_template_refuses_is_said_and_the_process_goes_on(apart: Any) -> None:
    with pytest.raises(jinja2.TemplateError, match="no role wizard"):
        apart.apply_chat_template([{"role": "wizard", "content": ""}], **CHAT)
    assert apart("fox", verbose=False)["input_ids"]


def test_other_errors_are_told_and_the_process_goes_on(apart: Any) -> None:
    with pytest.raises(RuntimeError, match="ValueError"):
        apart(3, verbose=False)
    assert apart("fox", verbose=False)["input_ids"]
    assert apart._process.poll() is None


def test_all_that_it_says_of_itself_is_the_same(apart: Any, here: Any) -> None:
    ids = range(tiny.VOCAB_SIZE)
    assert apart.convert_ids_to_tokens(ids) == here.convert_ids_to_tokens(ids)
    for one in (0, 300, tiny.VOCAB_SIZE - 1):
        assert apart.convert_ids_to_tokens(one) == here.convert_ids_to_tokens(one)
    assert apart.added_tokens_decoder == here.added_tokens_decoder
    assert tokenizer_family(apart) == tokenizer_family(here) == "byte-level BPE"
    for name in ("bos_token_id", "eos_token_id", "chat_template"):
        assert getattr(apart, name) == getattr(here, name)


def test_a_process_that_was_killed_loses_nobody_anything(
    apart: Any, here: Any, caplog: pytest.LogCaptureFixture
) -> None:
    apart._process.kill()
    apart._process.wait()
    with caplog.at_level(logging.WARNING):
        assert apart(TEXTS[1], verbose=False)["input_ids"] == here(TEXTS[1])["input_ids"]
    assert "this one loads it" in caplog.text
    assert apart.apply_chat_template([{"role": "user", "content": "a"}], **CHAT)["input_ids"]


def test_a_process_that_never_began_is_done_without(
    saved_llama: Path, here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer_apart.tokenizer_process, "__file__", "/no/such/file.py")
    found = TokenizerApart(saved_llama).tokenizer()
    assert type(found) is type(here)
    assert found("fox")["input_ids"] == here("fox")["input_ids"]


def test_a_tokenizer_that_can_not_be_read_raises_what_it_raises_here(tmp_path: Path) -> None:
    with pytest.raises((OSError, ValueError)) as expected:
        AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(expected.type) as caught:
        TokenizerApart(tmp_path).tokenizer()
    assert str(caught.value) == str(expected.value)


def test_a_fork_leaves_its_parents_process_alone(
    apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: own + 1)
        assert apart("fox", verbose=False)["input_ids"]
    assert apart._process.poll() is None


def test_it_ends_with_its_last_user(saved_llama: Path) -> None:
    backend = open_local(saved_llama, tokenizer_apart=True)
    process = psutil.Process(backend.tokenizer._process.pid)
    assert process.is_running()
    del backend
    gc.collect()
    assert not process.is_running()


def test_it_ends_when_its_parent_is_killed(
    saved_llama: Path, until: Callable[[Callable[[], bool], float], None]
) -> None:
    program = (
        "import sys, time\n"
        "from explorer.backends.tokenizer_apart import TokenizerApart\n"
        "apart = TokenizerApart(sys.argv[1]).tokenizer()\n"
        "print(apart._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(saved_llama)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        working = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    until(lambda: not working.is_running(), 60)


def test_a_backend_answers_the_same(saved_llama: Path) -> None:
    apart = open_local(saved_llama, tokenizer_apart=True)
    here = open_local(saved_llama)
    assert isinstance(apart.tokenizer, TokenizerApart)
    assert apart.info == here.info
    assert list(apart.tokens()) == list(here.tokens())
    assert [apart.encode(text) for text in TEXTS] == [here.encode(text) for text in TEXTS]


def test_only_a_model_that_others_would_wait_for_has_one(saved_llama: Path, tmp_path: Path) -> None:
    second = tiny.save_llama(tmp_path / "second")
    models = LocalModels(tmp_path / "models", str(saved_llama), public=False, budget_bytes=2**24)
    first = models.get(str(saved_llama))
    other = models.get(str(second))
    assert not isinstance(first.tokenizer, TokenizerApart)
    assert isinstance(other.tokenizer, TokenizerApart)
