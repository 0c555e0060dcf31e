"""Linear layers for processors on which torch's own are slow.

MKL, the BLAS in torch's x86 builds, is made for Intel's processors. On AMD's, the product of one
row with a matrix, which is all that a step is, runs on one core and at a third of what memory
gives. Its batched product of the same weights, seen as blocks of rows, has neither fault; for
more than a few rows oneDNN, which torch has for its compiler, is faster than both. The weights
stay as they are and where they are.

oneDNN turns the weights into an order of its own at each product, which takes longer than the
product of thirty rows. Where there is memory for it, that is done once and kept beside them.
"""

import math
import platform
from pathlib import Path

import torch
from torch import nn

FEW = 4  # rows that blocks are good for
BLOCKS = 8
ROWS_AT_ONCE = 32  # that the kept order is best for
PRODUCTS_BEFORE = 1  # of several rows, so that the first table need not wait for the reordering


class FastLinear(nn.Linear):
    """Equal to a plain linear layer but for rounding; for inference only."""

    reordered: torch.Tensor | None = None  # the weights in oneDNN's order
    until_reordered: int | None = None  # products of several rows; never, if `None`

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        count = input.numel() // self.in_features
        if count == 0:
            return super().forward(input)
        rows = input.reshape(count, -1)
        reordered = self._reordered_by_now() if count > 1 else None
        if count <= FEW and reordered is None:
            product = blocked(rows, self.weight)
            if self.bias is not None:
                product = product + self.bias
        else:
            weight = self.weight if reordered is None else reordered
            product = torch.ops.mkldnn._linear_pointwise(
                rows.contiguous(), weight, self.bias, "none", [], ""
            )
        return product.reshape(*input.shape[:-1], self.out_features)

    def _reordered_by_now(self) -> torch.Tensor | None:
        """Another thread may take the copy away at any time, but not from who has it here."""
        reordered, left = self.reordered, self.until_reordered
        if reordered is None and left is not None:
            self.until_reordered = max(0, left - 1)
            if left == 0:
                reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS_AT_ONCE)
                self.reordered = reordered
        return reordered


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


def let_reorder(model: nn.Module, room_bytes: int, last: nn.Module | None = None) -> None:
    """Let as many layers keep a second, reordered copy of their weights as there is room for.

    Not the `last` one: of all it gains least, and with a large vocabulary it is most of a model.
    """
    for layer in model.modules():
        if isinstance(layer, FastLinear) and layer is not last and layer.until_reordered is None:
            if layer.weight.nbytes > room_bytes:
                return
            room_bytes -= layer.weight.nbytes
            layer.until_reordered = PRODUCTS_BEFORE


def forget_reordered(model: nn.Module) -> None:
    """Give up these copies, and make no new ones."""
    for layer in model.modules():
        if isinstance(layer, FastLinear):
            layer.until_reordered = layer.reordered = None


def reordered_bytes(model: nn.Module) -> int:
    """What such copies take, or will."""
    return sum(
        layer.weight.nbytes
        for layer in model.modules()
        if isinstance(layer, FastLinear) and layer.until_reordered is not None
    )


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
