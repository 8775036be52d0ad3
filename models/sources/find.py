"""From what a user typed after ``--model`` to a network source.

One row of :data:`KINDS` per kind of spec, one file per row, tried from the top:

=============================  ==========================================================================
``spandrel:FILE``              a file that spandrel knows (:mod:`.spandrel_file`)
``hf:ORG/NAME``                weights of FDIKP on a Hugging Face server (:mod:`.hugging_face`)
``PREFIX:...``                 what an installed package adds, by an entry point ``fdikp_edge.sources``
``net.onnx``                   another exporter's file (:mod:`.onnx_file`)
``net.pt2``                    a file of ``torch.export.save`` (:mod:`.pt2.read`)
``net.py``, ``net.py:Net``,    the user's own code (:mod:`.module`)
``package.module:Net``
``tiny``, ``weights.pth``      FDIKP (:mod:`.fdikp`)
=============================  ==========================================================================

Code is imported and files are opened here because a user typed their names in this command. Never call
:func:`find` with text from a passport, report, bundle or table.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ...runtime.errors import ExtensionError
from ...runtime.installed import entry_points
from .base import Metric, NetworkSource, TensorSpec
from .onnx_file import is_onnx
from .request import Request, Resolver


@dataclass(frozen=True)
class Kind:
    """One row of the table: which specs it takes, and the module beside this one that resolves them."""

    accepts: Callable[[str], bool]
    module: str

    def resolver(self) -> Resolver:
        """Import the module and return its ``resolve``."""
        module = importlib.import_module(f"{__package__}.{self.module}")
        return cast(Resolver, module.resolve)


def _ends(*suffixes: str) -> Callable[[str], bool]:
    return lambda spec: spec.lower().endswith(suffixes)


KINDS = (
    Kind(lambda spec: spec.startswith("spandrel:"), "spandrel_file"),
    Kind(lambda spec: spec.startswith("hf:"), "hugging_face"),
    Kind(is_onnx, "onnx_file"),
    Kind(_ends(".pt2"), "pt2.read"),
    Kind(lambda spec: ":" in spec or spec.lower().endswith(".py"), "module"),
    Kind(lambda spec: True, "fdikp"),
)


def find(
    spec: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    weights: Path | None = None,
    inputs: Sequence[TensorSpec] = (),
    samples: Path | None = None,
    seed: int | None = None,
    metric: str | Metric | None = None,
) -> NetworkSource:
    """Return the network source that a user named.

    Args:
        spec: the text after ``--model``; see the module.
        arguments: for the class or factory that ``spec`` names.
        weights: a file of weights for the network, .safetensors or .pth, or ``hf:ORG/NAME``; see
            :mod:`.hugging_face`.
        inputs: descriptions of tensors that replace the source's own; see :func:`.declared.parse_input`.
        samples: a folder of real inputs; see :func:`.samples.read_samples`.
        seed: for initial weights; 0 when ``None``.
        metric: a measure of the user's own, as ``package.module:function`` or ``file.py:function``.

    Raises:
        UnknownNameError: a bare word that names no network; lists what can be given.
        SourceError: the source cannot be found, fails in its own code (with the file and line there), or an
            option means nothing for it.
        CheckpointError: a weights file that is unsafe, damaged, or does not fit.
        OnnxModelError: an ONNX file, which has no network for PyTorch; see :mod:`.onnx_file`.
        ExtensionError: an installed package adds the prefix and cannot be used.
    """
    origin = ""
    if weights is not None and weights.as_posix().startswith("hf:"):
        from .hugging_face import fetch

        weights, origin = fetch(weights.as_posix())
    request = Request(spec, dict(arguments or {}), weights, tuple(inputs), seed)
    source = _resolver(spec)(request)
    if origin:
        source = dataclasses.replace(source, note=f"{source.note}, from {origin}")
    return with_extras(source, samples, metric)


def with_extras(source: NetworkSource, samples: Path | None, metric: str | Metric | None) -> NetworkSource:
    """Return a source with the user's own samples and measure; arguments as :func:`find` takes them."""
    if samples is not None:
        from .samples import read_samples

        source = dataclasses.replace(source, samples=functools.partial(read_samples, samples))
    elif source.samples is not None:
        from .samples import checked

        source = dataclasses.replace(source, samples=checked(source.samples, source.name))
    measure = metric or source.metric
    if measure is not None:
        from .metrics import metric_of

        source = dataclasses.replace(source, metric=metric_of(measure))
    return source


def _resolver(spec: str) -> Resolver:
    prefix, colon, _ = spec.partition(":")
    builtin = next(kind for kind in KINDS if kind.accepts(spec))
    if not colon or builtin in KINDS[:2] or prefix not in entry_points.names(entry_points.SOURCES):
        return builtin.resolver()
    resolver = entry_points.load(entry_points.SOURCES, prefix)
    if not callable(resolver):
        where = entry_points.origin(entry_points.SOURCES, prefix)
        raise ExtensionError(f"{prefix!r} is provided by {where}, and is not a function that finds a network")
    return functools.partial(_checked, cast(Resolver, resolver), prefix)


def _checked(resolver: Resolver, prefix: str, request: Request) -> NetworkSource:
    """Call a resolver of an installed package; whatever fails there names the package."""
    from .users_code import users_code

    with users_code(f"{prefix}: resolver"):
        source: object = resolver(request)
    if not isinstance(source, NetworkSource):
        where = entry_points.origin(entry_points.SOURCES, prefix)
        kind = type(source).__name__
        raise ExtensionError(f"{where} returned {kind} for {request.spec!r}, not a NetworkSource")
    return source
