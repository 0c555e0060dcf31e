"""Weights rounded to 8 bits: what the layer computes, and what it does to a model."""

import copy

import pytest
import torch
from torch import nn

from explorer.backends.int8 import FEW, GREATEST, Int8Linear, round_linear_layers
from tests.backends import tiny


def layer(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(inputs + outputs)
    return nn.Linear(inputs, outputs, bias=bias)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(64,), (1, 64), (2, 3, 64), (FEW, 64), (FEW + 1, 64), (0, 64)])
def test_it_is_the_plain_layer_of_the_rounded_weights(bias: bool, shape: tuple[int, ...]) -> None:
    plain = layer(64, 96, bias=bias)
    rounded = Int8Linear(plain)
    twin = layer(64, 96, bias=bias)
    with torch.inference_mode():
        twin.weight.copy_(rounded.weight.float() * rounded.scale[:, None])
        x = torch.randn(shape).bfloat16().float()  # so that only the weights are rounded
        given, expected = rounded(x), twin(x)
    assert given.shape == expected.shape and given.dtype == x.dtype
    torch.testing.assert_close(given, expected, rtol=1e-2, atol=1e-2)  # the kernel's bfloat16


def test_no_weight_moves_by_more_than_half_a_step() -> None:
    plain = layer(64, 96)
    rounded = Int8Linear(plain)
    moved = (rounded.weight.float() * rounded.scale[:, None] - plain.weight).abs()
    assert (moved <= rounded.scale[:, None] / 2 * (1 + 1e-5)).all()
    assert rounded.weight.abs().amax(dim=1).tolist() == [GREATEST] * 96


def test_a_row_of_nothing_stays_nothing() -> None:
    plain = layer(64, 96)
    with torch.no_grad():
        plain.weight[3] = 0
    assert Int8Linear(plain)(torch.ones(1, 64))[0, 3] == 0


@pytest.mark.parametrize("count", [3, FEW + 1])
def test_rows_that_do_not_lie_in_one_piece(count: int) -> None:
    rounded = Int8Linear(layer(64, 96))
    x = torch.randn(64, count).bfloat16().t()
    with torch.inference_mode():
        torch.testing.assert_close(rounded(x), rounded(x.contiguous()))


def test_one_row_and_many_rows_agree() -> None:
    rounded = Int8Linear(layer(64, 96))
    x = torch.randn(FEW + 5, 64)
    with torch.inference_mode():
        many, single = rounded(x), torch.cat([rounded(row[None]) for row in x])
    torch.testing.assert_close(many, single, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", sorted(tiny.MODELS))
def test_every_linear_layer_of_a_model_is_rounded_and_no_embedding(name: str) -> None:
    model = copy.deepcopy(tiny.backend(name).model)  # which other tests use, too
    embedding = model.get_input_embeddings().weight
    before = embedding.clone()
    round_linear_layers(model)
    kinds = [type(module) for module in model.modules()]
    assert nn.Linear not in kinds and Int8Linear in kinds
    assert torch.equal(model.get_input_embeddings().weight, before)
