"""Every backend indexes the bytes that its tokens stand for."""

import threading

import pytest

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend
from tests.backends import tiny

VOCABULARY = [b"a", "あ".encode(), b"\xe3", b"</s>", b""]


@pytest.mark.parametrize("name", [*tiny.MODELS, "scripted"])
def test_a_token_spells_its_bytes_and_a_special_one_nothing(name: str) -> None:
    backend: Backend = (
        ScriptedBackend(VOCABULARY, special=[3]) if name == "scripted" else tiny.backend(name)
    )
    spelling = backend.spelling()
    assert len(spelling) == backend.info.vocab_size
    for token_id in range(backend.info.vocab_size):
        token = backend.token(token_id)
        assert spelling.of(token_id) == (b"" if token.special else token.raw)


def test_it_is_built_once() -> None:
    scripted = ScriptedBackend(VOCABULARY)
    assert scripted.spelling() is scripted.spelling()
    backend, found = tiny.backend("llama"), []
    threads = [threading.Thread(target=lambda: found.append(backend.spelling())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(one is found[0] for one in found)
