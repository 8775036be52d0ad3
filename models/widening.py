"""Runs a network in a wider precision than its own, whatever dtypes its code names.

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
import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

Dtypes = Mapping[torch.dtype, torch.dtype]

TO_FLOAT32: Dtypes = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.complex32: torch.complex64,
}
"""What a network of 16-bit floats is lowered in."""
WIDER: Dtypes = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
"""What a stored tensor becomes in double precision."""
_CASTS: Mapping[Any, torch.dtype] = {
    Tensor.half: torch.float16,
    Tensor.bfloat16: torch.bfloat16,
    Tensor.float: torch.float32,
}
_SINGLE: Dtypes = {torch.float32: torch.float64, torch.complex64: torch.complex128}


class InDouble:
    """A module in double precision.

    Rounding to float16 or bfloat16 that the network's code asks for is kept.
    """

    def __init__(self, module: nn.Module) -> None:
        """Take a module in eval mode; it is not changed, and its tensors are widened once."""
        self.module = converted(module, WIDER)
        self._widen = _Widen(_SINGLE)

    def __call__(self, *inputs: Any) -> Any:
        """Return what the module makes of ``inputs``, in double precision."""
        wide = pytree.tree_map_only(Tensor, lambda value: _cast(value, WIDER), inputs)
        with torch.no_grad(), _default_dtype(torch.float64), _WidenCalls(_SINGLE), self._widen:
            return self.module(*wide)


def in_float32(module: nn.Module) -> nn.Module:
    """Return a module of 16-bit floats in float32, another as it is.

    It has new parameters, and computes in float32 where the network's code asks for 16 bits. The module given
    is not changed.
    """
    if not narrow_dtypes(module):
        return module
    copied = converted(module, TO_FLOAT32)
    own: Any = type(copied)

    @functools.wraps(own.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        with _WidenCalls(TO_FLOAT32):  # and no dispatch mode: torch.export records what enters those
            return own.forward(self, *args, **kwargs)

    copied.__class__ = type(own.__name__, (own,), {"forward": forward, "__module__": own.__module__})
    return copied


def narrow_dtypes(module: nn.Module) -> list[str]:
    """Return the 16-bit types of a module's parameters and buffers: ``float16``, ``bfloat16``."""
    tensors = (*module.parameters(), *module.buffers())
    return sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.dtype in TO_FLOAT32})


def widening_notes(module: nn.Module) -> tuple[str, ...]:
    """Say what :func:`in_float32` changes."""
    return tuple(f"the network's {name} is lowered in float32" for name in narrow_dtypes(module))


def converted(module: nn.Module, dtypes: Dtypes) -> nn.Module:
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


def _cast(tensor: Tensor, dtypes: Dtypes) -> Tensor:
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
    """Gives functions that Python calls wider operands: some compare dtypes before they dispatch."""

    def __init__(self, dtypes: Dtypes) -> None:
        super().__init__()
        self._dtypes = dtypes

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` on wider operands; reading a tensor's properties needs none."""
        if getattr(func, "__name__", "") == "__get__":
            return func(*args, **(kwargs or {}))
        if func in _CASTS and _CASTS[func] in self._dtypes:
            return args[0].to(self._dtypes[_CASTS[func]])
        return func(*_wider(args, self._dtypes), **_wider(kwargs or {}, self._dtypes))


class _Widen(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives every operator wider operands, and has it make wider values than it is asked for."""

    def __init__(self, dtypes: Dtypes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dtypes = dtypes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` on wider operands."""
        if func is torch.ops.aten.view.dtype:
            raise TypeError("the network reads the bits of its floats (view(dtype))")
        return func(*_wider(args, self._dtypes), **_wider(kwargs or {}, self._dtypes))


def _wider(arguments: Any, dtypes: Dtypes) -> Any:
    def wide(value: Any) -> Any:
        if isinstance(value, Tensor):
            return _cast(value, dtypes)
        return dtypes.get(value, value) if isinstance(value, torch.dtype) else value

    return pytree.tree_map(wide, arguments)
