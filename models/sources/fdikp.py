"""FDIKP as a source: a variant by name, or a file of its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ...runtime.errors import UnknownNameError
from .base import NetworkSource
from .generic import with_inputs
from .request import Request

WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt")


def accepts(spec: str) -> bool:
    """Whether a spec is a variant, or a file that would be weights of one."""
    from ..fdikp.variants import VARIANTS

    return spec in VARIANTS or Path(spec).suffix.lower() in WEIGHTS_SUFFIXES


def resolve(request: Request) -> NetworkSource:
    """Return the source of a variant (with the weights of a file, if one is given) or of a weights file.

    Raises:
        CheckpointError: the file cannot be used; names it and the first offending key.
        SourceError: an option that means nothing for FDIKP.
    """
    from .. import zoo
    from ..fdikp.variants import VARIANTS

    request.refuse(arguments="FDIKP's variants have no arguments")
    if not accepts(request.spec) and not Path(request.spec).exists():
        raise unknown(request.spec)
    named = request.spec in VARIANTS
    if not named:
        request.refuse(weights="--model is a weights file already")
    if request.weights is not None:
        model = zoo.load(request.weights, variant=request.spec, seed=request.seed)
    else:
        model = zoo.load(request.spec, seed=request.seed)
    source = dataclasses.replace(model.network_source(), spec=request.spec)
    return with_inputs(source, request.inputs)


def unknown(spec: str) -> UnknownNameError:
    """Return the error for a bare word that names nothing."""
    from ..fdikp.variants import VARIANTS

    return UnknownNameError(
        f"no network is called {spec!r}. Give a variant of FDIKP ({', '.join(VARIANTS)}), a weights file "
        "of one (.safetensors, .pth, hf:ORG/NAME), your own code (net.py:Net or package.module:Net), "
        "spandrel:FILE, or a file written by torch.export (.pt2) or by an ONNX exporter (.onnx)"
    )
