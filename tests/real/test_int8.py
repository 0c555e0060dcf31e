"""Weights rounded to 8 bits against the full ones, on a real model."""

import pytest
import torch

from explorer.backends import Backend, LocalModels
from explorer.backends.int8 import Int8Linear
from explorer.decoding import divergence

pytestmark = pytest.mark.real

TEXTS = (
    "Once upon a time there was a little girl who lived in a village near the forest.",
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
)


@pytest.fixture(scope="module")
def rounded(models: LocalModels) -> Backend:
    return models.get("smollm2-135m-instruct-int8")


@pytest.mark.parametrize("text", TEXTS)
def test_it_predicts_nearly_the_same(rounded: Backend, smollm2: Backend, text: str) -> None:
    prefix = smollm2.encode(text)
    assert rounded.encode(text) == prefix and rounded.info.dtype == "int8"
    places = range(len(prefix) // 3, len(prefix) + 1, 4)
    found = [
        divergence(smollm2.next_distribution(prefix[:end]), rounded.next_distribution(prefix[:end]))
        for end in places
    ]
    assert 0 < sum(one.kl for one in found) / len(found) < 0.05
    same = sum(one.first.argmax() == one.second.argmax() for one in found)
    assert same >= 0.8 * len(found)


def test_a_step_agrees_with_a_whole_pass(rounded: Backend) -> None:
    prefix = rounded.encode(TEXTS[0])
    stepped = rounded.next_distribution(prefix)
    with torch.inference_mode():
        logits = rounded.model(torch.tensor([prefix]), use_cache=False).logits[0, -1]
    whole = logits.double().softmax(-1).numpy()
    # bfloat16 rounds what goes into each layer, so another order of sums shows.
    assert abs(stepped.probabilities[stepped.positions] - whole).max() < 0.02


def test_it_takes_less_memory(rounded: Backend, smollm2: Backend) -> None:
    assert any(isinstance(layer, Int8Linear) for layer in rounded.model.modules())
    assert rounded.weight_bytes < 0.6 * smollm2.weight_bytes
