"""Runs a network in another precision than its own, whatever dtypes its code names.

``module.double()`` is not enough for networks that call ``torch.fft``. They cast by name (``x.float()``),
have complex64 weights, which ``double()`` leaves alone, or hold tensors that are neither parameters nor
buffers. Here each operator is intercepted, where Python calls it and where PyTorch dispatches it: it gets
wider operands, and where it is asked for a narrow dtype, it makes the wide one.

The module itself stays as it is. It is not deep-copied either, which some networks do not survive (a
``__setstate__`` that expects another class, a lock, an open file): :func:`own_copy` makes new module objects
around the same tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

WIDER = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
"""What a stored tensor becomes in double precision."""
_SINGLE = {torch.float32: torch.float64, torch.complex64: torch.complex128}


class InDouble:
    """A module in double precision.

    Rounding to float16 or bfloat16 that the network's code asks for is kept.
    """

    def __init__(self, module: nn.Module) -> None:
        """Take a module in eval mode; it is not changed, and its tensors are widened once."""
        self.module = converted(module, WIDER)

    def __call__(self, *inputs: Any) -> Any:
        """Return what the module makes of ``inputs``, in double precision."""
        wide = pytree.tree_map_only(Tensor, lambda value: _cast(value, WIDER), inputs)
        widen = _Widen()  # type: ignore[no-untyped-call]
        with torch.no_grad(), _default_dtype(torch.float64), _WidenCalls(), widen:
            return self.module(*wide)


def converted(module: nn.Module, dtypes: Mapping[torch.dtype, torch.dtype]) -> nn.Module:
    """Return a module of the same code whose parameters and buffers have other dtypes.

    ``module`` is left as it is. TorchScript, which :func:`own_copy` cannot copy, is returned unchanged.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        return module
    copied = own_copy(module)
    # Modules that keep a second list of their weights (LSTM) renew it in _apply.
    cast(Any, copied)._apply(lambda tensor: _cast(tensor, dtypes))
    return copied


def own_copy(module: nn.Module, seen: dict[int, Any] | None = None) -> nn.Module:
    """Return new objects for a module and all in it, which share its tensors.

    Parameters are new objects too, so that the copy can be given others. Nothing of the module's own code
    runs.
    """
    seen = {} if seen is None else seen
    if id(module) in seen:
        return cast(nn.Module, seen[id(module)])
    copied = object.__new__(type(module))
    seen[id(module)] = copied
    content = dict(module.__dict__)
    for name in ("_parameters", "_buffers", "_modules"):
        content[name] = dict(content[name])
    for name, value in content["_parameters"].items():
        if value is not None:
            content["_parameters"][name] = _once(value, seen)
    for name, value in content["_modules"].items():
        if value is not None:
            content["_modules"][name] = own_copy(value, seen)
    copied.__dict__.update(content)
    return copied


def _once(parameter: nn.Parameter, seen: dict[int, Any]) -> Any:
    if id(parameter) not in seen:
        seen[id(parameter)] = nn.Parameter(parameter.detach(), requires_grad=parameter.requires_grad)
    return seen[id(parameter)]


def _cast(tensor: Tensor, dtypes: Mapping[torch.dtype, torch.dtype]) -> Tensor:
    return tensor.to(dtypes.get(tensor.dtype, tensor.dtype))


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make whole-number divisions and tensors without a dtype wide, for the block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _WidenCalls(TorchFunctionMode):
    """Gives functions that Python calls double operands: some compare dtypes before they dispatch."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` on wider operands; reading a tensor's properties needs none."""
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **(kwargs or {}))
        return func(*_wider(args), **_wider(kwargs or {}))


class _Widen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives every operator double operands, and has it make doubles where floats are asked for."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` on wider operands."""
        if func is torch.ops.aten.view.dtype:
            raise TypeError("the network reads the bits of its floats (view(dtype))")
        return func(*_wider(args), **_wider(kwargs or {}))


def _wider(arguments: Any) -> Any:
    return pytree.tree_map(_wide, arguments)


def _wide(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _cast(value, _SINGLE)
    return _SINGLE.get(value, value) if isinstance(value, torch.dtype) else value
