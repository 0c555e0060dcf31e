"""Weights rounded to 8 bits: quicker steps, at the price of other probabilities.

A step reads every weight once, so weights of a quarter of the size are read sooner. Each row of
a matrix keeps a scale of its own, its greatest absolute weight over 127 (symmetric, per output
channel). What goes in is rounded to bfloat16; sums are float32.
"""

import torch
from torch import nn
from torch.nn.functional import linear

FEW = 16  # rows that torch's kernel is good for
GREATEST = 127


class Int8Linear(nn.Module):
    """A linear layer whose weights are whole numbers from -127 to 127 times a scale a row."""

    weight: torch.Tensor  # (out, in) int8
    scale: torch.Tensor  # (out,)
    ones: torch.Tensor  # (out,) the kernel's own scales, which would have to be bfloat16

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(dim=1) / GREATEST
        divisor = torch.where(scale > 0, scale, 1.0)
        self.register_buffer("weight", (weight / divisor[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("ones", torch.ones(len(scale), dtype=torch.bfloat16))
        self.bias = layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = input.reshape(-1, input.shape[-1]).bfloat16().contiguous()
        scaled = product(rows, self.weight, self.ones).float() * self.scale
        if self.bias is not None:
            scaled = scaled + self.bias
        result: torch.Tensor = scaled.to(input.dtype)
        return result.reshape(*input.shape[:-1], self.scale.shape[0])


@torch.jit.script_if_tracing  # type: ignore[untyped-decorator]
def product(
    rows: torch.Tensor, weight: torch.Tensor, ones: torch.Tensor, few: int = FEW
) -> torch.Tensor:
    """The fastest way for so many rows, in recorded passes, too."""
    if 0 < len(rows) <= few:
        return torch._weight_int8pack_mm(rows, weight, ones)
    return linear(rows, weight.to(torch.bfloat16))


def round_linear_layers(model: nn.Module) -> None:
    """Replace all linear layers of a model in place; embeddings stay as they are.

    An output layer that shares its weights with the embeddings gets rounded ones of its own.
    """
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear):
                setattr(parent, name, Int8Linear(layer))
