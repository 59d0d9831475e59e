"""A second device that any machine has: it computes on the CPU and keeps apart like a GPU.

Its tensors call themselves ``meta`` and hold a tensor of the CPU. An operation over tensors of both
devices fails as it would on a GPU; so does one that would leave a tensor of it unnoticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

ELSEWHERE = torch.device("meta")

# As on a GPU: where to look may be said on the CPU, and copies go both ways.
_MAY_MIX = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten.index_put.default,
    torch.ops.aten.copy_.default,
}


class _Elsewhere(Tensor):
    @staticmethod
    def __new__(cls, inner: Tensor) -> _Elsewhere:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=ELSEWHERE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> Any:
        return self.inner.tolist()

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return _Elsewhere(self.inner.new_tensor(data, **options))

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def second_device() -> Iterator[None]:
    """While it is entered, tensors can be sent and made ``ELSEWHERE``."""
    with _Operations(), _Data():
        yield


class _Data(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and "device" in kwargs:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    there = any(isinstance(value, _Elsewhere) for value in given)
    here = any(not isinstance(value, _Elsewhere) and value.ndim for value in given)
    asked = kwargs.get("device")
    if there and here and func not in _MAY_MIX:
        raise RuntimeError(f"{func}: tensors of two devices")
    if func in _MAY_MIX:
        there = isinstance(given[0], _Elsewhere)
    if asked is not None:
        there = torch.device(asked) == ELSEWHERE
        kwargs = {**kwargs, "device": torch.device("cpu")}
    inner_args, inner_kwargs = tree_map(_inner, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    if not there:
        return out
    wrapped = tree_map(lambda value: _Elsewhere(value) if isinstance(value, Tensor) else value, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _Elsewhere) else value
