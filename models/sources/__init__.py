"""Network sources: what any network says of itself, and where one is found.

>>> from fdikp_edge.models.sources import NetworkSource, TensorSpec, of
>>> source = of(module)                                   # a module that exists already
>>> from fdikp_edge.models.sources.find import find
>>> source = find("net.py:Denoiser")                      # what a user types after --model
"""

from ...runtime.inputs import Sample
from .base import NetworkSource, TensorSpec
from .crops import photo_crops
from .generic import of
from .sizes import SizeRequirements

__all__ = ["NetworkSource", "Sample", "SizeRequirements", "TensorSpec", "of", "photo_crops"]
