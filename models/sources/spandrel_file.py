"""A file that spandrel knows: ``spandrel:FILE``.

spandrel (the extra ``spandrel``) tells some 40 architectures of restoration and super-resolution networks by
the keys of their weights, builds the network, and says what it takes. The file is read by this package's own
reader, which runs nothing in it; spandrel is given the tensors.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...runtime.errors import SourceError
from ...runtime.inputs import Sample
from ...runtime.photo import Array
from ..checkpoint import Checkpoint, read_tensors
from .base import NetworkSource, TensorSpec
from .crops import photo_crops
from .generic import in_float32, with_inputs
from .request import Request
from .sizes import SizeRequirements
from .users_code import users_code
from .weights import WRAPPERS

MAX_FILE_BYTES = 2 * 2**30
MASKED_SAMPLES = 12
_TILING = {
    "DISCOURAGED": "spandrel advises against tiles for this network: it looks at the whole picture, so seams "
    "may show",
    "INTERNAL": "spandrel advises against tiles for this network: it cuts the picture into tiles itself",
}


class SpandrelNetwork(nn.Module):
    """A network called as spandrel calls it: pictures in, one picture out, not clamped."""

    def __init__(self, descriptor: Any) -> None:
        """Wrap the network of a spandrel descriptor."""
        super().__init__()
        self.model: nn.Module = descriptor.model
        self._call = getattr(descriptor, "_call_fn", None)

    def forward(self, *pictures: Tensor) -> Tensor:
        """Map [N, C, H, W] (and a mask [N, 1, H, W], for inpainting) to [N, C', scale * H, scale * W]."""
        result: Tensor = self.model(*pictures) if self._call is None else self._call(self.model, *pictures)
        return result


def resolve(request: Request) -> NetworkSource:
    """Return the source of a file, by what spandrel says of it.

    Raises:
        SourceError: spandrel is not installed, or knows no architecture with these keys.
        CheckpointError: the file is unsafe or damaged.
    """
    request.refuse(
        arguments="spandrel tells the architecture by the file",
        weights="the file after spandrel: holds them",
        seed="the weights are those of the file",
    )
    path = Path(request.spec.partition(":")[2])
    spandrel = _imported()
    checkpoint = read_tensors(path, max_bytes=MAX_FILE_BYTES, wrappers=WRAPPERS)
    _check_values(checkpoint)
    with users_code(f"{path}: spandrel"):
        try:
            state = spandrel.canonicalize_state_dict(checkpoint.tensors)
            descriptor = spandrel.ModelLoader().load_from_state_dict(state)
        except spandrel.UnsupportedModelError:
            raise SourceError(
                f"{path}: spandrel {spandrel.__version__} knows no architecture with these keys; give the "
                "network's own code (net.py:Net) and the file with --weights"
            ) from None
    network, notes = in_float32(SpandrelNetwork(descriptor).eval())
    masked = isinstance(descriptor, spandrel.MaskedImageModelDescriptor)
    tiling = _TILING.get(descriptor.tiling.name)
    source = NetworkSource(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem),
        spec=request.spec,
        load=lambda: network,
        inputs=_inputs(descriptor, masked),
        outputs=("result",),
        sizes=_sizes(descriptor.size_requirements),
        samples=functools.partial(masked_photos, count=MASKED_SAMPLES) if masked else None,
        scale=descriptor.scale,
        note=f"loaded from {path.name} ({_words(descriptor)}, by spandrel {spandrel.__version__})",
        notes=(*checkpoint.notes, *notes, *((tiling,) if tiling else ())),
    )
    return with_inputs(source, request.inputs)


def masked_photos(specs: Sequence[TensorSpec], *, count: int) -> list[Sample]:
    """Return pieces of the sample photos for the first input, each with a mask of rectangles for the second.

    A mask is 1 where the picture is to be filled in, a tenth to a third of it, and 0 elsewhere.
    """
    image, mask = specs
    generator = np.random.default_rng(0)
    crops = photo_crops(image, count)
    return [
        Sample(f"photo {n} with a mask", {image.name: crop, mask.name: _mask(mask, generator)})
        for n, crop in enumerate(crops)
    ]


def _mask(spec: TensorSpec, generator: np.random.Generator) -> Array:
    mask = np.zeros([int(side or 1) for side in spec.shape], np.float32)
    height, width = mask.shape[-2:]
    while mask.mean() < 0.1:
        tall, wide = (max(1, int(side * generator.uniform(0.1, 0.4))) for side in (height, width))
        top, left = int(generator.integers(height - tall + 1)), int(generator.integers(width - wide + 1))
        mask[..., top : top + tall, left : left + wide] = 1
    return mask


def _imported() -> Any:
    try:
        import spandrel
    except ModuleNotFoundError as error:
        raise SourceError(
            f'spandrel: needs {error.name}, which is not installed here: pip install "fdikp-edge[spandrel]"'
        ) from None
    except Exception as error:  # torchvision fails by many types where it was built for another torch
        raise SourceError(
            f"spandrel: is installed, but cannot be imported ({type(error).__name__}: {str(error)[:200]}); "
            "torchvision has to be the build for the torch that is installed"
        ) from error
    return spandrel


def _check_values(checkpoint: Checkpoint) -> None:
    for key, value in checkpoint.tensors.items():
        if bool(torch.isnan(value).any()):
            raise checkpoint.error(f"key {key!r:.80} holds values that are not finite")


def _inputs(descriptor: Any, masked: bool) -> tuple[TensorSpec, ...]:
    channels = descriptor.input_channels
    color = {1: "grey", 3: "RGB"}.get(channels, "")
    image = TensorSpec("image", (1, channels, None, None), layout="NCHW", color=color)
    return (image, TensorSpec("mask", (1, 1, None, None))) if masked else (image,)


def _sizes(rule: Any) -> SizeRequirements | None:
    step = max(1, int(rule.multiple_of))
    minimum = max(step, -(-int(rule.minimum) // step) * step)
    return SizeRequirements(minimum, step, square=bool(rule.square))


def _words(descriptor: Any) -> str:
    words = [descriptor.architecture.name, *map(str, descriptor.tags), descriptor.purpose]
    return " ".join(word for word in words if word)
