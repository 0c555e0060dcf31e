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
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

FEW = 4  # rows that blocks are good for
BLOCKS = 8
ROWS_AT_ONCE = 32  # that the kept order is best for
PRODUCTS_BEFORE = 1  # of several rows, so that the first table need not wait for the reordering


# A list of this type can be named in TorchScript only.
_by_onednn = torch.jit.CompilationUnit(
    """
def by_onednn(rows: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    none = torch.jit.annotate(List[Optional[number]], [])
    return torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", none, "")
"""
).by_onednn


def blocked(rows: Tensor, weight: Tensor, most: int = BLOCKS) -> Tensor:
    """`rows @ weight.T`: rows `(n, in)`, weight `(out, in)` in one piece, result `(n, out)`."""
    out_features, in_features = weight.shape
    blocks = math.gcd(out_features, most)
    product = torch.bmm(
        weight.view(blocks, -1, in_features),
        rows.t().expand(blocks, in_features, len(rows)),
    )
    return product.view(out_features, len(rows)).t()


def product(
    input: Tensor, weight: Tensor, bias: Tensor | None, reordered: Tensor | None, few: int = FEW
) -> Tensor:
    """The fastest way for so many rows; `reordered` are the weights in oneDNN's order."""
    out_features, in_features = weight.shape
    rows = input.reshape(-1, in_features)
    if len(rows) == 1 or (reordered is None and len(rows) <= few):
        result = blocked(rows, weight)
        if bias is not None:
            result = result + bias
    else:
        result = _by_onednn(rows, weight if reordered is None else reordered, bias)
    return result.reshape(input.shape[:-1] + (out_features,))  # noqa: RUF005 as TorchScript has it


class Recordable(nn.Module):
    """A layer's product, to be compiled: in a recorded pass, too, it depends on how many rows.

    A recording can't hold weights in oneDNN's order as a constant, either.
    """

    bias: Tensor | None
    reordered: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, reordered: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias, self.reordered = weight, bias, reordered

    def forward(self, input: Tensor) -> Tensor:
        return product(input, self.weight, self.bias, self.reordered)


class Reordered:
    """The copy of a layer's weights that oneDNN reads; one for all that compute with them."""

    def __init__(self) -> None:
        self.weights: Tensor | None = None
        self.after: int | None = None  # products of several rows; never made, if `None`
        self._compiled: list[Any] = []  # that look at it, too

    def __deepcopy__(self, memo: object) -> "Reordered":
        return self

    def keep(self, weights: Tensor | None) -> None:
        """Another thread may take it away at any time, but not from who computes with it."""
        self.weights = weights
        for one in self._compiled:
            one.reordered = weights

    def compiled(self, layer: nn.Linear) -> Any:
        """What computes the layer's products in recorded passes."""
        bias = None if layer.bias is None else layer.bias.detach()
        self._compiled.append(
            torch.jit.script(Recordable(layer.weight.detach(), bias, self.weights))
        )
        return self._compiled[-1]


class FastLinear(nn.Linear):
    """Equal to a plain linear layer but for rounding; for inference only."""

    reordered: Reordered
    recordable: Any  # where passes are recorded

    def forward(self, input: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            result: Tensor = self.recordable(input)
            return result
        count = input.numel() // self.in_features
        if count == 0:
            return super().forward(input)
        if count > 1 and self.reordered.weights is None:
            self._reorder_in_time()
        return product(input, self.weight, self.bias, self.reordered.weights)

    def _reorder_in_time(self) -> None:
        after = self.reordered.after
        if after is not None:
            self.reordered.after = max(0, after - 1)
            if after == 0:
                self.reordered.keep(
                    torch.ops.mkldnn._reorder_linear_weight(self.weight, ROWS_AT_ONCE)
                )


def speed_up_linear_layers(model: nn.Module) -> None:
    """Replace a model's linear layers in place, on machines where that helps."""
    if _mkl_is_slow_here():
        for layer in model.modules():
            if _can_be_fast(layer):
                make_fast(layer)


def make_fast(layer: nn.Linear) -> None:
    """In place: the weights stay where they are."""
    layer.__class__ = FastLinear
    assert isinstance(layer, FastLinear)
    layer.reordered = Reordered()


def let_reorder(model: nn.Module, room_bytes: int, last: nn.Module | None = None) -> None:
    """Let as many layers keep a second, reordered copy of their weights as there is room for.

    Not the `last` one: of all it gains least, and with a large vocabulary it is most of a model.
    """
    for layer in model.modules():
        if isinstance(layer, FastLinear) and layer is not last and layer.reordered.after is None:
            if layer.weight.nbytes > room_bytes:
                return
            room_bytes -= layer.weight.nbytes
            layer.reordered.after = PRODUCTS_BEFORE


def forget_reordered(model: nn.Module) -> None:
    """Give up these copies, and make no new ones."""
    for layer in model.modules():
        if isinstance(layer, FastLinear):
            layer.reordered.after = None
            layer.reordered.keep(None)


def reordered_bytes(model: nn.Module) -> int:
    """What such copies take, or will."""
    return sum(
        layer.weight.nbytes
        for layer in model.modules()
        if isinstance(layer, FastLinear) and layer.reordered.after is not None
    )


def _can_be_fast(layer: nn.Module) -> TypeGuard[nn.Linear]:
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


def make_recordable(model: nn.Module) -> None:
    """Prepare a model's fast layers for passes that are recorded."""
    for layer in [layer for layer in model.modules() if isinstance(layer, FastLinear)]:
        layer.recordable = layer.reordered.compiled(layer)
