"""The options that name a network, as one network source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.errors import BadInputError

if TYPE_CHECKING:
    from ..models.sources import NetworkSource, TensorSpec
    from ..models.sources.request import Request


def source_of(
    model: str,
    model_arg: Sequence[str] = (),
    weights: Path | None = None,
    input: Sequence[str | TensorSpec] = (),
    samples: Path | None = None,
    seed: int | None = None,
    metric: str | None = None,
) -> NetworkSource:
    """Return the source that ``--model`` and its companions name, each as typed.

    Raises:
        BadInputError: an option is malformed, or means nothing for this network.
        UnknownNameError, SourceError, CheckpointError, ExtensionError: see
            :func:`fdikp_edge.models.sources.find.find`.
    """
    from ..models.sources.declared import parse_input
    from ..models.sources.find import find
    from ..models.sources.onnx_file import is_onnx
    from ..models.sources.request import Request

    inputs = tuple(parse_input(given) if isinstance(given, str) else given for given in input)
    if is_onnx(model):
        request = Request(model, parse_arguments(model_arg), weights, inputs, seed)
        return _onnx_source(request, samples, metric)
    return find(
        model,
        arguments=parse_arguments(model_arg),
        weights=weights,
        inputs=inputs,
        samples=samples,
        seed=seed,
        metric=metric,
    )


def _onnx_source(request: Request, samples: Path | None, metric: str | None) -> NetworkSource:
    """Return an ONNX file as a source; options that mean nothing for it are refused."""
    from ..export.onnx.source.network import onnx_network
    from ..models.sources.find import with_extras

    inside = "an ONNX file holds the whole network"
    request.refuse(arguments=inside, weights=inside, seed=inside)
    return with_extras(onnx_network(request.spec, inputs=request.inputs), samples, metric)


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Return what ``--model-arg`` options say: ``depth=3`` a number, ``name=fft`` or ``name="fft"`` a text.

    Raises:
        BadInputError: no name in front of ``=``, or a name given twice.
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise BadInputError(f"--model-arg {text}: write NAME=VALUE, such as --model-arg width=32")
        if name in arguments:
            raise BadInputError(f"--model-arg {name} is given twice")
        arguments[name] = _value(value)
    return arguments


def _value(text: str) -> Any:
    """Return a JSON value; a bare word is a text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
