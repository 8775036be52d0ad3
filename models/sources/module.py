"""The user's own code as a source: ``package.module:attribute``, ``path/file.py:attribute`` or a file alone.

The attribute is an ``nn.Module`` class or instance, a :class:`NetworkSource`, or a function that returns a
module or a source.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ...runtime.errors import SourceError
from .base import NetworkSource
from .generic import in_float32, of, with_inputs
from .imports import import_module, split
from .request import Request
from .users_code import users_code

_MOST_LISTED = 12


def resolve(request: Request) -> NetworkSource:
    """Return the source that the user's code describes; a bare module gets :func:`.generic.of`'s defaults.

    Raises:
        SourceError: the code cannot be imported or fails, names nothing usable, or does not fit the options.
        CheckpointError: the weights file is unsafe, damaged, or does not fit.
    """
    place, attribute = split(request.spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed or 0)
        loaded = import_module(place)
        chosen = _attribute(loaded.module, attribute, place) if attribute else _only(loaded.module, place)
        with loaded.importable(), users_code(request.spec):
            network = _called(chosen, request)
            if isinstance(network, nn.Module):
                network = network.cpu().eval()
        name = attribute or getattr(chosen, "__name__", "") or Path(place).stem
        source = _as_source(network, name.replace(".", "-"), request)
        with loaded.importable(), users_code(request.spec):
            return _loaded(source, request)


def _called(chosen: object, request: Request) -> object:
    """Build the network, where a class or a function was named."""
    if isinstance(chosen, (nn.Module, NetworkSource)):
        request.refuse(arguments=f"it is {_words(chosen)} already; name its class or a function instead")
        return chosen
    if not callable(chosen):
        raise SourceError(
            f"{request.spec}: is {_words(chosen)}, not a network or a function that returns one"
        )
    if isinstance(chosen, type) and not issubclass(chosen, nn.Module):
        raise SourceError(f"{request.spec}: the class {chosen.__name__} is no nn.Module")
    _check_arguments(chosen, request)
    return chosen(**request.arguments)


def _check_arguments(chosen: Callable[..., Any], request: Request) -> None:
    try:
        signature = inspect.signature(chosen)
    except (TypeError, ValueError):  # written in C: calling it tells
        return
    try:
        signature.bind(**request.arguments)
    except TypeError as error:
        takes = ", ".join(str(parameter) for parameter in signature.parameters.values()) or "no arguments"
        raise SourceError(
            f"{request.spec}: {error}; give --model-arg NAME=VALUE. It takes: {takes}"
        ) from None


def _as_source(network: object, name: str, request: Request) -> NetworkSource:
    if isinstance(network, NetworkSource):
        return with_inputs(dataclasses.replace(network, spec=request.spec), request.inputs)
    if not isinstance(network, nn.Module):
        raise SourceError(
            f"{request.spec}: returned {_words(network)}; expected an nn.Module or a NetworkSource"
        )
    if callable(getattr(network, "network_source", None)):
        return of(network, spec=request.spec, inputs=request.inputs)
    return of(network, name, spec=request.spec, inputs=request.inputs)


def _loaded(source: NetworkSource, request: Request) -> NetworkSource:
    """Load the network once, so that whatever is wrong with it is said now, and put the weights in."""
    network = source.load()
    if not isinstance(network, nn.Module):
        raise SourceError(f"{request.spec}: load() returned {_words(network)}, not an nn.Module")
    network, notes = in_float32(network.cpu().eval())
    if request.weights is not None:
        from .weights import load_weights

        notes += load_weights(network, request.weights)
        source = dataclasses.replace(source, note=f"loaded from {request.weights.name}", trained=None)
    elif not source.note:
        note = f"as {request.spec} makes them; random ones are drawn from seed {request.seed or 0}"
        source = dataclasses.replace(source, note=note)
    notes = tuple(dict.fromkeys((*source.notes, *notes)))
    return dataclasses.replace(source, load=lambda: network, notes=notes)


def _attribute(module: ModuleType, path: str, place: str) -> object:
    value: object = module
    for part in path.split("."):
        if not hasattr(value, part):
            raise SourceError(f"{place} has no {path!r}{_listed(_candidates(module))}")
        value = getattr(value, part)
    return value


def _only(module: ModuleType, place: str) -> object:
    """Return the one NetworkSource of a file that names none, or else its one network."""
    candidates = _candidates(module)
    for kind in ((NetworkSource,), (nn.Module, type)):
        of_kind = {name: value for name, value in candidates.items() if isinstance(value, kind)}
        if len(of_kind) == 1:
            return next(iter(of_kind.values()))
        if of_kind:
            break
    if not candidates:
        raise SourceError(
            f"{place} defines no nn.Module and no NetworkSource; name a function that returns one"
        )
    raise SourceError(f"{place} has several networks; write {place}:NAME{_listed(candidates)}")


def _candidates(module: ModuleType) -> dict[str, object]:
    """Return the networks that a file defines itself: sources, modules, and classes (none imported)."""
    candidates: dict[str, object] = {}
    for name, value in vars(module).items():
        own_class = (
            isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__
        )
        if not name.startswith("_") and (own_class or isinstance(value, (NetworkSource, nn.Module))):
            candidates[name] = value
    return candidates


def _listed(candidates: dict[str, object]) -> str:
    names = list(candidates)
    if not names:
        return ""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"; there are: {', '.join(names[:_MOST_LISTED])}{more}"


def _words(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, (nn.Module, NetworkSource)):
        return f"an instance of {kind}"
    return f"{kind} {value!r:.60}"
