"""The blocked product is the plain one but for rounding, on the same weights."""

import pytest
import torch
from torch import nn

from explorer.backends import few_rows
from explorer.backends.few_rows import BLOCKS, FEW, BlockedLinear, blocked, speed_up_few_rows
from tests.backends import tiny


def layer(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(inputs * outputs)
    return nn.Linear(inputs, outputs, bias=bias)


def as_blocked(plain: nn.Linear) -> nn.Linear:
    twin = nn.Linear(plain.in_features, plain.out_features, bias=plain.bias is not None)
    twin.load_state_dict(plain.state_dict())
    twin.__class__ = BlockedLinear
    return twin


@pytest.mark.parametrize("outputs", [BLOCKS, 12, 30, 576])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1,), (1, 1), (2,), (1, 3), (2, 2), (FEW,), (FEW + 1,), (0,)])
def test_equals_the_plain_layer(outputs: int, bias: bool, shape: tuple[int, ...]) -> None:
    plain = layer(20, outputs, bias=bias)
    x = torch.randn(*shape, 20)
    with torch.inference_mode():
        expected, given = plain(x), as_blocked(plain)(x)
    assert given.shape == expected.shape
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


def test_rows_that_do_not_lie_in_one_piece() -> None:
    plain = layer(16, 24)
    x = torch.randn(16, 3).t()
    with torch.inference_mode():
        torch.testing.assert_close(as_blocked(plain)(x), plain(x), rtol=1e-5, atol=1e-5)


def test_many_rows_take_the_plain_product() -> None:
    plain = layer(16, 24)
    x = torch.randn(FEW + 1, 16)
    with torch.inference_mode():
        assert torch.equal(as_blocked(plain)(x), plain(x))


def test_one_output_is_one_block() -> None:
    rows, weight = torch.randn(2, 5), torch.randn(3, 5)
    torch.testing.assert_close(blocked(rows, weight), rows @ weight.t())


@pytest.mark.parametrize("name", sorted(tiny.MODELS))
def test_a_model_keeps_its_weights_and_its_answers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_rows, "_blas_is_slow_at_few_rows", lambda: True)
    model = tiny.backend(name).model
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        before = model(ids).logits
    addresses = {key: value.data_ptr() for key, value in model.named_parameters()}
    speed_up_few_rows(model)
    with torch.inference_mode():
        after = model(ids).logits
    assert {key: value.data_ptr() for key, value in model.named_parameters()} == addresses
    has_linear = any(isinstance(part, nn.Linear) for part in model.modules())
    assert has_linear == any(type(part) is BlockedLinear for part in model.modules())
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("mkl", "processor", "changes"),
    [
        (True, "vendor_id\t: AuthenticAMD", True),
        (True, "vendor_id\t: GenuineIntel", False),
        (False, "vendor_id\t: AuthenticAMD", False),
    ],
)
def test_changes_only_what_is_slow(
    mkl: bool, processor: str, changes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    monkeypatch.setattr(few_rows, "_processor", lambda: processor)
    model = nn.Sequential(layer(16, 16))
    speed_up_few_rows(model)
    assert (type(model[0]) is BlockedLinear) == changes


@pytest.mark.parametrize(
    "other",
    [
        layer(16, 16).to(torch.bfloat16),
        layer(16, 15),
        nn.Conv1d(16, 16, 1),
        type("Adapted", (nn.Linear,), {})(16, 16),
    ],
)
def test_only_plain_layers_that_can_be_blocked(
    other: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_rows, "_blas_is_slow_at_few_rows", lambda: True)
    kind = type(other)
    speed_up_few_rows(nn.Sequential(other))
    assert type(other) is kind
