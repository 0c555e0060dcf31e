"""Loading that leaves others alone: what it changes is put back."""

import gc
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import tokenization_utils_base

from explorer.backends import calm
from explorer.backends.calm import BURST_S, SWITCH_S, Reader, calmly

TOKENIZER = {"added_tokens": [{"id": 0, "content": "é"}], "model": {"vocab": {"a": 0}}}


def test_all_is_put_back() -> None:
    interval = sys.getswitchinterval()
    with pytest.raises(KeyError), calmly():
        assert not gc.isenabled()
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        assert tokenization_utils_base.json.load is not json.load
        raise KeyError
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval
    assert tokenization_utils_base.json is json


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(TOKENIZER, indent=2))
    return path


def load(path: Path, reader: Reader, **options: Any) -> Any:
    with path.open(encoding="utf-8") as file:
        return reader.load(file, **options)


def test_a_file_is_read_once_for_all_who_ask(
    tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader()
    first = load(tokenizer, reader)
    assert first == TOKENIZER
    first["added_tokens"].pop()["id"] = 1  # as transformers does
    first["model"]["vocab"] = {}
    with monkeypatch.context() as patch:
        patch.setattr(calm, "load_in_parts", None)
        assert load(tokenizer, reader) == TOKENIZER


def test_a_file_that_changed_is_read_again(tokenizer: Path) -> None:
    reader = Reader()
    load(tokenizer, reader)
    tokenizer.write_text('["other"]')
    assert load(tokenizer, reader) == ["other"]


def test_options_are_those_of_json(tokenizer: Path) -> None:
    pairs = load(tokenizer, Reader(), object_pairs_hook=list)
    assert [name for name, _ in pairs] == ["added_tokens", "model"]


def calls(seconds: float) -> None:
    """Compute for so long, in short calls."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(100))


@pytest.mark.parametrize("give_way", [True, False])
def test_passes_go_first_where_they_may(give_way: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(calm, "let_pass", lambda: asked.append(threading.current_thread().name))
    mine = threading.current_thread().name
    with calmly(give_way=give_way):
        other = threading.Thread(target=calls, args=[5 * BURST_S])
        other.start()
        other.join()
        calls(5 * BURST_S)
    calls(5 * BURST_S)
    assert set(asked) == ({mine} if give_way else set())
    assert len(asked) <= 5
    assert sys.getprofile() is None
