"""A source for any module: what it says itself, else what can be read off it."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Sequence

import torch
from torch import nn

from ...runtime.errors import SourceError
from .. import widening
from .base import COLORS, NetworkSource, TensorSpec

_NARROW = (torch.float16, torch.bfloat16, torch.float64)
_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def of(
    module: nn.Module,
    name: str | None = None,
    *,
    spec: str | None = None,
    inputs: Sequence[TensorSpec] = (),
) -> NetworkSource:
    """Return the source of a module that exists already.

    A module with a method ``network_source()`` is asked. Any other gets defaults: one picture, named after
    the parameter of ``forward``, with the channels of the first convolution (RGB where that tells nothing).

    Args:
        module: the network.
        name: what artifacts are called; the class's name when ``None`` and the module does not say.
        spec: what a user typed to get it; ``name`` when ``None``.
        inputs: replace the defaults; the order is that of ``forward`` where the names are its parameters.

    Raises:
        SourceError: ``forward`` needs several tensors and ``inputs`` do not describe them, or
            ``network_source()`` returned something else.
    """
    own = getattr(module, "network_source", None)
    if callable(own):
        source = own()
        if not isinstance(source, NetworkSource):
            raise SourceError(
                f"{type(module).__name__}.network_source() returned {type(source).__name__}, "
                "not a NetworkSource"
            )
        source = dataclasses.replace(source, name=name or source.name, spec=spec or source.spec)
        return with_inputs(source, inputs)
    name = name or type(module).__name__
    network, notes = in_float32(module)
    specs, guessed = (described(module, inputs), ()) if inputs else _guessed(module)
    return NetworkSource(
        name=name,
        spec=spec or name,
        load=lambda: network,
        inputs=specs,
        notes=(*notes, *guessed),
        assumed=not inputs,
    )


def with_inputs(source: NetworkSource, inputs: Sequence[TensorSpec]) -> NetworkSource:
    """Return the source with those of its inputs replaced that have the name of one in ``inputs``.

    Raises:
        SourceError: a name is none of the source's inputs; lists them.
    """
    known = [spec.name for spec in source.inputs]
    given = {spec.name: spec for spec in inputs}
    if unknown := [name for name in given if name not in known]:
        raise SourceError(f"{source.name} has no input {unknown[0]!r}; its inputs: {', '.join(known)}")
    return dataclasses.replace(source, inputs=tuple(given.get(spec.name, spec) for spec in source.inputs))


def in_float32(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module with its weights in float32, and a note where they were not.

    The module itself is returned where nothing has to be changed, and a copy otherwise.

    Raises:
        SourceError: it cannot be copied.
    """
    tensors = [*module.parameters(), *module.buffers()]
    other = sorted({str(t.dtype).removeprefix("torch.") for t in tensors if t.dtype in _NARROW})
    if not other:
        return module, ()
    notes = (f"{' and '.join(other)} weights were converted to float32",)
    if "float64" not in other and not any(isinstance(m, torch.jit.ScriptModule) for m in module.modules()):
        return widening.in_float32(module), notes  # also where its code names the 16-bit type
    try:
        copied = copy.deepcopy(module)
    except Exception as error:  # the module's own code runs here
        raise SourceError(
            f"{type(module).__name__} holds {' and '.join(other)} weights and cannot be copied to change "
            f"them ({type(error).__name__}: {error}); call .float() on it before"
        ) from error
    return copied.float(), notes


def described(module: nn.Module, inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """Return declared inputs in the order of ``forward``.

    Raises:
        SourceError: too few or too many, or only some of the names are parameters of ``forward``.
    """
    required, possible, open_ended = parameters(module)
    names = [spec.name for spec in inputs]
    call = f"{type(module).__name__}.forward({', '.join(possible)})"
    if any(name in possible for name in names):
        if unknown := [name for name in names if name not in possible]:
            raise SourceError(f"{call} has no parameter {unknown[0]!r}")
        inputs = sorted(inputs, key=lambda spec: possible.index(spec.name))
        for name, expected in zip((spec.name for spec in inputs), possible, strict=False):
            if name != expected:
                raise SourceError(f"{call} takes {expected!r} before {name!r}; describe it with --input too")
    if len(inputs) < len(required):
        raise SourceError(
            f"{call} needs {len(required)} tensors ({', '.join(required)}), {len(inputs)} are described"
        )
    if len(inputs) > len(possible) and not open_ended:
        raise SourceError(f"{call} takes {len(possible)} tensors, {len(inputs)} are described")
    return tuple(inputs)


def parameters(module: nn.Module) -> tuple[list[str], list[str], bool]:
    """Return which positional parameters ``forward`` needs and which it has, and whether it takes any number.

    Raises:
        SourceError: it needs an argument by name, which no exported program can be given.
    """
    required, possible, open_ended = [], [], False
    for name, parameter in inspect.signature(module.forward).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            open_ended = True
        elif parameter.kind in _KINDS:
            possible.append(name)
            if parameter.default is inspect.Parameter.empty:
                required.append(name)
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY and (
            parameter.default is inspect.Parameter.empty
        ):
            raise SourceError(
                f"{type(module).__name__}.forward needs {name!r} by name; wrap the network in a module whose "
                "forward takes tensors by position"
            )
    return required, possible, open_ended


def _guessed(module: nn.Module) -> tuple[tuple[TensorSpec, ...], tuple[str, ...]]:
    required, possible, _ = parameters(module)
    if len(required) > 1:
        raise SourceError(
            f"{type(module).__name__}.forward needs {len(required)} tensors: {', '.join(required)}. Describe "
            f"each with --input, such as --input {required[0]}=1x3x256x256:rgb "
            f"--input {required[1]}=1x1x256x256"
        )
    name = (required or possible or ["image"])[0]
    first = next(((path, m) for path, m in module.named_modules() if isinstance(m, nn.Conv2d)), None)
    channels, why = 3, "no convolution tells its channels"
    if first is not None:
        channels, why = first[1].in_channels, f"from the convolution {first[0] or 'itself'!r}"
        if channels not in COLORS.values():
            channels, why = 3, f"the convolution {first[0]!r} takes {channels} channels, which tells nothing"
    color = {1: "grey", 3: "RGB"}.get(channels, "")
    picture = TensorSpec(name, (1, channels, None, None), layout="NCHW", color=color)
    if why.startswith("from") and channels == 3:
        return (picture,), ()
    return (picture,), (f"input {name!r} is taken to be {picture.words} ({why}); --input overrides it",)
