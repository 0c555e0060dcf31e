"""The fast layer is the plain one but for rounding, on the same weights."""

import pytest
import torch
from torch import nn

from explorer.backends import fast_linear
from explorer.backends.fast_linear import (
    BLOCKS,
    FEW,
    FastLinear,
    blocked,
    forget_reordered,
    let_reorder,
    make_fast,
    reordered_bytes,
    speed_up_linear_layers,
)
from tests.backends import tiny


def layer(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(inputs * outputs)
    return nn.Linear(inputs, outputs, bias=bias)


def as_fast(plain: nn.Linear) -> nn.Linear:
    twin = nn.Linear(plain.in_features, plain.out_features, bias=plain.bias is not None)
    twin.load_state_dict(plain.state_dict())
    make_fast(twin)
    return twin


@pytest.mark.parametrize("outputs", [BLOCKS, 12, 30, 576])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "shape", [(1,), (1, 1), (2,), (1, 3), (2, 2), (FEW,), (FEW + 1,), (3, 50), (0,)]
)
def test_equals_the_plain_layer(outputs: int, bias: bool, shape: tuple[int, ...]) -> None:
    plain = layer(20, outputs, bias=bias)
    x = torch.randn(*shape, 20)
    with torch.inference_mode():
        expected, given = plain(x), as_fast(plain)(x)
    assert given.shape == expected.shape
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [3, FEW + 1])
def test_rows_that_do_not_lie_in_one_piece(count: int) -> None:
    plain = layer(16, 24)
    x = torch.randn(16, count).t()
    with torch.inference_mode():
        torch.testing.assert_close(as_fast(plain)(x), plain(x), rtol=1e-5, atol=1e-5)


def test_one_output_is_one_block() -> None:
    rows, weight = torch.randn(2, 5), torch.randn(3, 5)
    torch.testing.assert_close(blocked(rows, weight), rows @ weight.t())


@pytest.mark.parametrize("name", sorted(tiny.MODELS))
def test_a_model_keeps_its_weights_and_its_answers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_linear, "_mkl_is_slow_here", lambda: True)
    model = tiny.backend(name).model
    ids = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        before = model(ids).logits
    addresses = {key: value.data_ptr() for key, value in model.named_parameters()}
    speed_up_linear_layers(model)
    with torch.inference_mode():
        after = model(ids).logits
    assert {key: value.data_ptr() for key, value in model.named_parameters()} == addresses
    has_linear = any(isinstance(part, nn.Linear) for part in model.modules())
    assert has_linear == any(type(part) is FastLinear for part in model.modules())
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
    monkeypatch.setattr(fast_linear, "_processor", lambda: processor)
    model = nn.Sequential(layer(16, 16))
    speed_up_linear_layers(model)
    assert (type(model[0]) is FastLinear) == changes


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
    monkeypatch.setattr(fast_linear, "_mkl_is_slow_here", lambda: True)
    kind = type(other)
    speed_up_linear_layers(nn.Sequential(other))
    assert type(other) is kind


@pytest.mark.parametrize("outputs", [BLOCKS, 12, 30, 576])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("count", [1, 2, FEW, FEW + 1, 30, 100])
def test_weights_in_another_order_give_the_same(outputs: int, bias: bool, count: int) -> None:
    plain = layer(20, outputs, bias=bias)
    fast = as_fast(plain)
    let_reorder(fast, fast.weight.nbytes)
    assert isinstance(fast, FastLinear)
    with torch.inference_mode():
        while fast.reordered.weights is None:
            fast(torch.randn(3, 20))
        x = torch.randn(2, count, 20)
        torch.testing.assert_close(fast(x), plain(x), rtol=1e-5, atol=1e-5)


def test_the_first_product_waits_for_no_reordering_and_one_row_never_does() -> None:
    fast = as_fast(layer(16, 16))
    let_reorder(fast, fast.weight.nbytes)
    assert isinstance(fast, FastLinear)
    made = []
    with torch.inference_mode():
        for count in (1, 1, 1, 3, 1, 3):
            fast(torch.randn(count, 16))
            made.append(fast.reordered.weights is not None)
    assert made == [False, False, False, False, False, True]


def test_copies_only_while_there_is_room_and_not_of_the_last_layer() -> None:
    layers = [as_fast(layer(16, 16)) for _ in range(4)]
    each = layers[0].weight.nbytes
    model = nn.Sequential(*layers)
    let_reorder(model, 3 * each - 1, last=layers[0])
    x = torch.randn(3, 16)
    with torch.inference_mode():
        before = model(x)
        model(x)
    assert [part.reordered.weights is not None for part in model] == [False, True, True, False]
    assert reordered_bytes(model) == 2 * each
    forget_reordered(model)
    assert reordered_bytes(model) == 0
    with torch.inference_mode():
        torch.testing.assert_close(model(x), before)
        model(x)
    assert all(part.reordered.weights is None for part in model)
