"""Products of a few rows with a matrix of weights, where the processor's BLAS is slow at them.

A step multiplies every matrix by one row, so reading the weights is all its work. MKL, the BLAS
in torch's x86 builds, does that on one core and, on AMD's processors, at a third of what memory
gives. Its batched product of the same weights, seen as blocks of rows, has neither fault.
Nothing is copied: a block is a view.
"""

import math
import platform
from pathlib import Path

import torch
from torch import nn

FEW = 4  # rows; for more, the plain product is as fast
BLOCKS = 8


class BlockedLinear(nn.Linear):
    """A linear layer that multiplies up to four rows block by block; equal but for rounding."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        rows = input.numel() // self.in_features
        if not 0 < rows <= FEW:
            return super().forward(input)
        product = blocked(input.reshape(rows, -1), self.weight)
        if self.bias is not None:
            product = product + self.bias
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


def speed_up_few_rows(model: nn.Module) -> None:
    """Give the model's linear layers the blocked product where this machine's BLAS needs it."""
    if _blas_is_slow_at_few_rows():
        for layer in model.modules():
            if _can_be_blocked(layer):
                layer.__class__ = BlockedLinear


def _can_be_blocked(layer: nn.Module) -> bool:
    return (
        type(layer) is nn.Linear
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and layer.weight.is_contiguous()
        and math.gcd(layer.out_features, BLOCKS) > 1
    )


def _blas_is_slow_at_few_rows() -> bool:
    """By name, since a trial would measure who else runs at the moment."""
    has_mkl = bool(torch.backends.mkl.is_available())  # type: ignore[no-untyped-call]
    return has_mkl and "AuthenticAMD" in _processor()


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    return facts.read_text() if facts.exists() else platform.processor()
