"""A model with rounded weights beside the one it was made of."""

import math
from dataclasses import replace
from typing import Any

import pytest

from explorer.backends import ScriptedBackend
from explorer.backends.base import ModelChoice
from explorer.ui.actions import Actions
from explorer.ui.store import SessionStore
from tests.ui.asking import KEY, FakeModels

WORDS = [b"a", b"b", b"c"]
FULL, ROUNDED = [0.5, 0.3, 0.2], [0.47, 0.27, 0.26]


class TwoModels(FakeModels):
    def choices(self) -> tuple[ModelChoice, ...]:
        (full,) = super().choices()
        return full, replace(full, name="rounded", rounds="small")


@pytest.fixture
def actions() -> Actions:
    models = TwoModels(
        small=ScriptedBackend(WORDS, {(0,): FULL}),
        rounded=ScriptedBackend(WORDS, {(0,): ROUNDED}),
    )
    return Actions(models, SessionStore())


def act(actions: Actions, action: str, **more: Any) -> dict[str, Any]:
    return actions.act({"action": action, "key": KEY, **more})


def test_both_models_at_the_place_where_the_session_stands(actions: Actions) -> None:
    act(actions, "ask", prompt="a", model="rounded")
    found = act(actions, "rounding")["ok"]["rounding"]
    assert found["model"] == "small"
    assert [row["text"] for row in found["rows"]] == ["a", "b", "c"]
    assert [row["full"] for row in found["rows"]] == pytest.approx(FULL)
    assert [row["rounded"] for row in found["rows"]] == pytest.approx(ROUNDED)
    assert found["total_variation"] == pytest.approx(0.06)
    kl = sum(p * math.log2(p / q) for p, q in zip(FULL, ROUNDED, strict=True))
    assert found["kl"] == pytest.approx(kl)


def test_the_text_is_weighed_by_both(actions: Actions) -> None:
    act(actions, "ask", prompt="a", model="rounded")
    act(actions, "pick", token_id=2)
    found = act(actions, "rounding")["ok"]["rounding"]
    assert found["perplexity"] == pytest.approx([1 / FULL[2], 1 / ROUNDED[2]])


def test_a_model_that_is_not_rounded_has_nothing_to_compare(actions: Actions) -> None:
    act(actions, "ask", prompt="a")
    assert act(actions, "rounding")["error"]["code"] == "not_rounded"
