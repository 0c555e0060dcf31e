"""Hugging Face's ZeroGPU lends a GPU to functions that ask for it; elsewhere nothing happens."""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def on_gpu(function: Function) -> Function:
    """`spaces.GPU` where the `spaces` package is there; the function itself where it is not."""
    try:
        import spaces
    except ImportError:
        return function
    decorated: Function = spaces.GPU(function)
    return decorated
