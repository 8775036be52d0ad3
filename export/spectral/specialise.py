"""Constants are constants: what forward reads in Python from tensors that no input reaches.

In eval mode a buffer, a parameter, or a tensor made in ``forward`` from numbers alone has one value for ever.
``torch.export`` traces them as unknown all the same, and ``.item()``, ``if mask.any():`` or ``.tolist()`` on
one stops it. While tracing, :class:`Specialise` computes such tensors for real beside the traced ones and
answers those reads with the number. What depends on an input stays unknown: reading it is refused, but in an
assertion, which computes nothing: the program goes without it, and the audit names it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.weak import WeakTensorKeyDictionary

from .intercept import Intercept, asserted, users_frame

LARGEST_KNOWN = 1 << 24
"""Elements of the largest tensor that is computed beside the trace: enough for any window, mask or grid."""

_READS = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default}


class Specialise(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the values of tensors that depend on no input; ``baked`` lists what Python read of them."""

    supports_higher_order_operators = True  # a branch in the graph passes, to be refused by its own name

    def __init__(self, values: dict[str, Tensor]) -> None:
        """``values``: the module's parameters and buffers by name, before tracing makes them fake."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.baked: list[str] = []
        self._stored = values
        self._storages = {value.untyped_storage().data_ptr() for value in values.values() if value.numel()}
        self._known: Any = WeakTensorKeyDictionary()

    def know(self, module: nn.Module) -> None:
        """Match the module's tensors, fake by now, with their values."""
        for named in (module.named_parameters, module.named_buffers):
            for name, tensor in named(remove_duplicate=False):
                if name in self._stored:
                    self._known[tensor] = self._stored[name]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer a read of a known tensor; run anything else as it is, and its real twin beside it."""
        kwargs = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):
            return func(*args, **kwargs)
        known = self._values((args, kwargs))
        if func in _READS and known is not None:
            with _real():
                answer = func(*known[0], **known[1])
            self.baked.append(self._say(answer))
            return answer
        if func is torch.ops.aten._local_scalar_dense.default and args[0].dtype == torch.bool:
            answer = self._assertion()
            if answer is not None:
                return answer
        result = func(*args, **kwargs)
        written = _written(func, args, kwargs)
        if known is None or torch.Tag.nondeterministic_seeded in func.tags:
            self._forget(written)
            return result
        if written and self._touches_stored(written, _written(func, *known)):
            self._forget(written)
            return result
        self._follow(func, known, result)
        return result

    def _assertion(self) -> bool | None:
        """What an assertion on data has to read to pass; the program goes without it."""
        frame = users_frame(traceback.extract_stack())
        answer = None if frame is None else asserted(frame)
        if frame is not None and answer is not None:
            self.baked.append(f"not checked: {Path(frame.filename).name}:{frame.lineno}: {frame.line}")
        return answer

    def _values(self, tree: Any) -> Any:
        """The same arguments with real tensors; ``None`` where one is unknown."""
        leaves, spec = pytree.tree_flatten(tree)
        values = []
        for leaf in leaves:
            if isinstance(leaf, torch.SymInt | torch.SymFloat | torch.SymBool):
                return None
            if isinstance(leaf, Tensor):
                value = self._known.get(leaf, None)
                if value is None and _is_plain(leaf):
                    value = leaf  # a constant of the code
                if value is None:
                    return None
                leaf = value
            values.append(leaf)
        return pytree.tree_unflatten(values, spec)

    def _follow(self, func: Any, known: Any, result: Any) -> None:
        outputs = [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(not all(isinstance(n, int) for n in out.shape) for out in outputs):
            return
        if sum(out.numel() for out in outputs) > LARGEST_KNOWN:
            return
        with _real():
            try:
                twin = func(*known[0], **known[1])
            except Exception:  # the trace has its own way to fail
                return
        values = [leaf for leaf in pytree.tree_leaves(twin) if isinstance(leaf, Tensor)]
        if func is torch.ops.aten.lift_fresh.default:  # a number of the code: writes must not reach it
            values = [value.clone() for value in values]
        for out, value in zip(outputs, values, strict=True):
            if value.shape == out.shape and value.dtype == out.dtype:
                self._known[out] = value

    def _touches_stored(self, written: list[Tensor], real: list[Tensor]) -> bool:
        """Whether a write would change a tensor of the network or of its code, which must stay as it is."""
        return any(
            _is_plain(tensor) or value.untyped_storage().data_ptr() in self._storages
            for tensor, value in zip(written, real, strict=True)
        )

    def _forget(self, written: list[Tensor]) -> None:
        """A write of something unknown: every tensor that shares the memory is unknown from here on."""
        for tensor in written:
            value = self._known.get(tensor, None)
            if value is None:
                continue
            place = value.untyped_storage().data_ptr()
            for other in list(self._known.keys()):
                if self._known[other].untyped_storage().data_ptr() == place:
                    del self._known[other]

    def _say(self, answer: Any) -> str:
        frame = users_frame(traceback.extract_stack())
        if frame is None:
            return f"constant: {answer} read while tracing"
        return f"constant: {answer} read in {Path(frame.filename).name}:{frame.lineno}: {frame.line}"


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that an operator writes into: itself in place, ``out=``, or each of a list."""
    written: list[Any] = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            written.append(args[position] if position < len(args) else kwargs.get(argument.name))
    return [leaf for leaf in pytree.tree_leaves(written) if isinstance(leaf, Tensor)]


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor with memory of its own: not fake, not batched, not differentiated."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    return (
        type(value) in (Tensor, nn.Parameter)
        and not wrapped(value)
        and not torch._is_functional_tensor(value)
    )


@contextmanager
def _real() -> Iterator[None]:
    with _disable_current_modes(), unset_fake_temporarily(), disable_proxy_modes_tracing(), torch.no_grad():
        yield


@dataclass
class Seen:
    """What ``forward`` did while it was traced: constants read, and whether ``torch.func`` differentiated."""

    baked: list[str] = field(default_factory=list)
    has_derivatives: bool = False


@contextmanager
def specialised(module: nn.Module, *, derivatives: bool = False) -> Iterator[Seen]:
    """While this is open, calls of ``module`` answer reads of constants; yields what was seen.

    ``derivatives``: see :class:`.intercept.Intercept`.
    """
    values = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    values = {name: value.detach() for name, value in values.items() if type(value) in (Tensor, nn.Parameter)}
    seen = Seen()
    open_modes: list[tuple[Any, Any]] = []

    def enter(called: nn.Module, inputs: Any) -> None:
        mode: Any = Specialise(values)  # torch leaves their methods without types
        calls: Any = Intercept(derivatives)
        mode.know(called)
        mode.__enter__()
        calls.__enter__()
        open_modes.append((mode, calls))

    def leave() -> None:
        mode, calls = open_modes.pop()
        seen.has_derivatives |= calls.has_derivatives
        calls.__exit__(None, None, None)
        mode.__exit__(None, None, None)
        seen.baked = list(dict.fromkeys(mode.baked))

    def left(called: nn.Module, inputs: Any, outputs: Any) -> None:
        if open_modes:
            leave()

    hooks = [module.register_forward_pre_hook(enter), module.register_forward_hook(left)]
    try:
        yield seen
    finally:
        while open_modes:  # forward raised: its hook was not called
            leave()
        for hook in hooks:
            hook.remove()
