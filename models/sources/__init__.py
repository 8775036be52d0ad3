"""Network sources: what any network says of itself, and where one is found.

>>> from fdikp_edge.models.sources import NetworkSource, TensorSpec, of
>>> source = of(module)                                   # a module that exists already
>>> from fdikp_edge.models.sources.find import find
>>> source = find("net.py:Denoiser")                      # what a user types after --model
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...runtime.inputs import Sample
from ...runtime.installed.packages import attribute
from .base import NetworkSource, TensorSpec
from .crops import photo_crops
from .sizes import SizeRequirements

if TYPE_CHECKING:
    from .generic import of as of

__all__ = ["NetworkSource", "Sample", "SizeRequirements", "TensorSpec", "of", "photo_crops"]


def __getattr__(name: str) -> Any:
    if name != "of":  # the only one that needs torch, which a device that runs arrays does not have
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return attribute(name, ".generic", __name__)
