"""Products of a few rows with a matrix of weights, where the processor's BLAS is slow at them.

A step multiplies every matrix by one row, so reading the weights is all its work. The BLAS in
torch's x86 builds does that on one core and, on AMD's processors, at a third of what memory
gives. Its batched product of the same weights, seen as blocks of rows, has neither fault.
Nothing is copied: a block is a view.
"""

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TypeGuard

import torch
from torch import nn
from torch.nn.functional import linear

FEW = 4  # rows; for more, the plain product is as fast
BLOCKS = 8
WORTH_IT = 1.25  # times faster; less could be chance, and last digits should not depend on that
TRIALS = 7
TRIED = 32  # matrices, so that they come from memory and not from the processor's cache


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


def speed_up_few_rows(model: nn.Module) -> bool:
    """Give the model's linear layers the blocked product if this processor is faster with it.

    Whether it is gets tried out on the model's own weights, in a few milliseconds.
    """
    layers = [layer for layer in model.modules() if _can_be_blocked(layer)]
    if not layers or not _is_worth_it([layer.weight for layer in layers[:TRIED]]):
        return False
    for layer in layers:
        layer.__class__ = BlockedLinear
    return True


def _can_be_blocked(layer: nn.Module) -> TypeGuard[nn.Linear]:
    return (
        type(layer) is nn.Linear
        and layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and layer.weight.is_contiguous()
        and math.gcd(layer.out_features, BLOCKS) > 1
    )


def _is_worth_it(weights: list[torch.Tensor]) -> bool:
    rows = {weight.shape[1]: torch.ones(1, weight.shape[1]) for weight in weights}
    with torch.inference_mode():
        pairs = [
            (
                _seconds(partial(_all, weights, rows, linear)),
                _seconds(partial(_all, weights, rows, blocked)),
            )
            for _ in range(TRIALS)
        ]
    return statistics.median(plain / ours for plain, ours in pairs) >= WORTH_IT


def _all(
    weights: list[torch.Tensor],
    rows: dict[int, torch.Tensor],
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    for weight in weights:
        product(rows[weight.shape[1]], weight)


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
