"""Lets PyTorch's exporters remember, for a test process, what they otherwise look up anew in every export.

``torch.onnx.export`` parses the source of its 500 translations each time, about a second, and
``run_decompositions`` walks through all composite operators. Both find the same in every export of a process.
Where another PyTorch has other names inside, nothing is remembered and the tests are only slower.
"""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable
from typing import Any

REGISTRY = "torch.onnx._internal.exporter._registration"
COMPOSITES = "torch._export.utils"


def remember() -> None:
    """Install what is not installed yet, in modules that are loaded; loads none itself."""
    if (registration := sys.modules.get(REGISTRY)) is not None:
        _wrap(registration.ONNXRegistry, "from_torchlib", lambda method: classmethod(_kept(method.__func__)))
    if (utils := sys.modules.get(COMPOSITES)) is not None:
        _wrap(utils, "_materialize_cpp_cia_ops", _once_per_registration)


def _wrap(owner: Any, name: str, wrapped: Callable[[Any], Any]) -> None:
    whole = getattr(owner, name, None)
    if whole is not None and not hasattr(whole, "__wrapped__"):
        setattr(owner, name, wrapped(whole))


def _kept(make: Callable[..., Any]) -> Callable[..., Any]:
    """Hand out copies of one registry per opset, so that what a caller adds stays the caller's."""
    kept: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(make)
    def from_torchlib(cls: Any, *args: Any, **kwargs: Any) -> Any:
        key = (cls, args, tuple(sorted(kwargs.items())))
        if key not in kept:
            kept[key] = make(cls, *args, **kwargs)
        own = copy.copy(kept[key])
        own.functions = {target: list(entries) for target, entries in kept[key].functions.items()}
        return own

    return from_torchlib


def _once_per_registration(materialise: Callable[[], None]) -> Callable[[], None]:
    """Call ``materialise`` only where operators were registered since the last call."""
    import torch

    seen: list[str] = []

    @functools.wraps(materialise)
    def again() -> None:
        registered = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        if registered != seen:
            materialise()
            seen[:] = registered

    return again
