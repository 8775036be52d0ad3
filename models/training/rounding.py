"""Training through rounding: what 8 bits and the layers' rounding do to a result is to stay small.

A network may enlarge half a step of an 8-bit picture by 25 dB on gratings near the Nyquist frequency, where
photographs give it no reason not to. No choice of ranges can mend that in an int8 artifact. The penalty here
is the change of the result under noise like that of rounding, in the picture and in what each layer reads
(uniform noise of one step stands for rounding to it: Widrow et al., 1996; in training: arXiv 2104.09987).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..patterns import patterns, uniform

STEPS = 255
"""Steps in the range of a tensor that is rounded to 8 bits."""
FLOOR = (1 / STEPS) ** 2 / 12
"""Mean square below which a change counts less and less: that of rounding a picture to 8 bits."""
PHOTO_SHARE = 0.25
"""How often a photograph is disturbed instead of a pattern."""
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
"""What the int8 recipes round the input of."""


def penalty(model: nn.Module, photos: Tensor, seed: int) -> Tensor:
    """Return how much rounding changes the result, a scalar: the mean of ``log(1 + change / FLOOR)``.

    Args:
        model: maps [B, 3, H, W] to a list of such pictures, the finest last, as FDIKP does.
        photos: [B, 3, H, W], 0 to 1; a pattern of the same shape is taken in most cases.
        seed: of this step: the same seed draws the same pattern and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    x = photos if uniform(generator) < PHOTO_SHARE else patterns(photos.shape, generator).to(photos)
    with torch.no_grad():
        quiet = model(x)[-1]
    with rounded_layers(model, generator):
        disturbed = model(x + _noise(x, 1 / STEPS, generator))[-1]
    # The quiet result is a constant: to first order its gradient cancels in the mean over the noise.
    change = ((disturbed - quiet).float() ** 2).mean((1, 2, 3))
    return torch.log1p(change / FLOOR).mean()


@contextlib.contextmanager
def rounded_layers(model: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Inside the block each layer's input has the noise of rounding to 8 bits over its own range."""

    def disturb(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, *others = arguments
        with torch.no_grad():
            low, high = x.aminmax()
            step = float(high.clamp(min=0) - low.clamp(max=0)) / STEPS
        return (x + _noise(x, step, generator), *others)

    with contextlib.ExitStack() as hooks:
        for layer in model.modules():
            if isinstance(layer, LAYERS):
                hooks.callback(layer.register_forward_pre_hook(disturb).remove)
        yield


def _noise(x: Tensor, step: float, generator: torch.Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator).sub(0.5).mul(step).to(x)
