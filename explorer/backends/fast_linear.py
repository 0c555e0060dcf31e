"""Linear layers for processors on which torch's own are slow.

MKL, the BLAS in torch's x86 builds, is made for Intel's processors. On AMD's, the product of one
row with a matrix, which is all that a step is, runs on one core and at a third of what memory
gives. Its batched product of the same weights, seen as blocks of rows, has neither fault; for
more than a few rows oneDNN, which torch has for its compiler, is faster than both. The weights
stay as they are and where they are.
"""

import math
import platform
from pathlib import Path

import torch
from torch import nn

FEW = 4  # rows that blocks are good for
BLOCKS = 8


class FastLinear(nn.Linear):
    """Equal to a plain linear layer but for rounding; for inference only."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        count = input.numel() // self.in_features
        if count == 0:
            return super().forward(input)
        rows = input.reshape(count, -1)
        if count <= FEW:
            product = blocked(rows, self.weight)
            if self.bias is not None:
                product = product + self.bias
        else:
            product = torch.ops.mkldnn._linear_pointwise(
                rows.contiguous(), self.weight, self.bias, "none", [], ""
            )
        return product.reshape(*input.shape[:-1], self.out_features)


def blocked(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`rows @ weight.T`: rows `(n, in)`, weight `(out, in)` in one piece, result `(n, out)`."""
    out_features, in_features = weight.shape
    blocks = math.gcd(out_features, BLOCKS)
    product = torch.bmm(
        weight.view(blocks, -1, in_features),
        rows.t().expand(blocks, in_features, len(rows)),
    )
    return product.view(out_features, len(rows)).t()


def speed_up_linear_layers(model: nn.Module) -> None:
    """Replace a model's linear layers in place, on machines where that helps."""
    if _mkl_is_slow_here():
        for layer in model.modules():
            if _can_be_fast(layer):
                layer.__class__ = FastLinear


def _can_be_fast(layer: nn.Module) -> bool:
    return (
        type(layer) is nn.Linear
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and layer.weight.is_contiguous()
        and math.gcd(layer.out_features, BLOCKS) > 1
    )


def _mkl_is_slow_here() -> bool:
    """By name, since a trial would measure who else runs at the moment."""
    has_both = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_both) and "AuthenticAMD" in _processor()


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    return facts.read_text() if facts.exists() else platform.processor()
