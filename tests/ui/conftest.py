"""Fixtures shared by the tests of the page's requests."""

import json
from typing import Any

import orjson
import pytest

from explorer.backends import ScriptedBackend
from explorer.ui.actions import Actions
from explorer.ui.store import SessionStore
from tests.ui.asking import END, KEY, A, Act, FakeModels


@pytest.fixture
def models() -> FakeModels:
    words = [b"a", b" b", b"\xe3\x81", b"\x82", b"</s>"]
    script = {(A,): [0.4, 0.3, 0.2, 0.1, 0.0]}
    small = ScriptedBackend(
        words, script, special=[END], end_token_ids=(END,), context_length=8, model_id="small"
    )
    chatty = ScriptedBackend(words, bos_token_id=END, chat=True, model_id="chatty")
    return FakeModels(small=small, chatty=chatty)


@pytest.fixture
def store() -> SessionStore:
    return SessionStore()


@pytest.fixture
def act(models: FakeModels, store: SessionStore) -> Act:
    actions = Actions(models, store)

    def act(action: Any, key: Any = KEY, **more: Any) -> dict[str, Any]:
        answer = actions.act({"action": action, "key": key, **more})
        json.dumps(answer, allow_nan=False)
        orjson.dumps(answer)  # what Gradio sends with: no lone surrogate, at most 64 bits
        return answer

    return act


@pytest.fixture
def begun(act: Act) -> Act:
    """`act` after a first question."""
    assert "ok" in act("ask", prompt="a")
    return act
