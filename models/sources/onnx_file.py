"""A file that another exporter wrote: ``net.onnx``.

There is no PyTorch network in it, so it is no :class:`NetworkSource`: nothing could be traced, lowered or run
eagerly. Commands that can work on the file itself look with :func:`is_onnx` before they ask for a source. All
others get an :class:`~fdikp_edge.runtime.errors.OnnxModelError`, which says so.
"""

from __future__ import annotations

from pathlib import Path

from ...runtime.errors import OnnxModelError, SourceError
from .base import NetworkSource
from .request import Request


def is_onnx(spec: str) -> bool:
    """Whether a spec names an ONNX file."""
    return spec.lower().endswith(".onnx")


def resolve(request: Request) -> NetworkSource:
    """Say that an ONNX file is no source.

    Raises:
        OnnxModelError: always, with the path of the file.
        SourceError: there is no such file.
    """
    path = Path(request.spec)
    if not path.is_file():
        raise SourceError(f"{path}: " + ("not a regular file" if path.exists() else "no such file"))
    raise OnnxModelError(path)
