"""FDIKP, the whole network, top to bottom.

A reconstruction from the abstract and its lineage: the abstract of "Frequency-Driven Inverse Kernel
Prediction for Single Image Defocus Deblurring" (arXiv:2508.12736), and the networks around it (P2IKT, GKMNet,
DeepRFT, FFTformer). The paper's body could not be read and its weights are not public, so widths, scales and
details here are this project's choices, and none of the paper's figures is claimed.

The image is sharpened at a quarter, a half and then full size by the *same* weights. Each scale sees the
blurred image, the estimate of the scale before, and a recurrent memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...runtime.errors import SizeError
from ...runtime.samples import defocused_photo
from ..sources.base import NetworkSource, TensorSpec
from .blocks import conv3, dual_domain_blocks
from .dikp import KernelPredictor
from .dsrm import DualDomainRefiner, State
from .initial import initialise
from .pac import PositionAdaptiveConv
from .variants import Variant

SCALES = 3

DEFOCUS = (0.0, 1.5, 3.0, 5.0)
"""Radii in pixels by which photos in focus are put out of it for calibration; real pairs of a few megapixels
show 1 to 5."""


def resize(x: Tensor, factor: float) -> Tensor:
    """Scale [B, C, H, W] bilinearly by ``factor`` (pixel centres at half-integers)."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class FDIKP(nn.Module):
    """Defocus deblurring: float [B, 3, H, W], RGB in [0, 1], to a list of sharp images, coarse to fine.

    The list holds [B, 3, H/4, W/4], [B, 3, H/2, W/2] and [B, 3, H, W]; the last one is the answer, the others
    are for training. Values are not clamped. ``variant.size`` says which H and W are accepted; any other
    raises :class:`~fdikp_edge.runtime.errors.SizeError`. The initial weights follow from ``seed`` alone.

    ``trained`` and ``weights_note`` say where the weights come from; ``zoo.load`` fills them in.
    """

    trained: bool
    weights_note: str

    def __init__(self, variant: Variant, *, seed: int = 0) -> None:
        """Build ``variant`` with the initial weights that ``seed`` gives."""
        super().__init__()
        self.variant = variant
        self.trained = False
        self.weights_note = f"UNTRAINED (initial values from seed {seed}): nothing is sharpened yet"
        c, (n0, n1, n2), modes, sep = variant.channels, variant.blocks, variant.fourier, variant.separable
        self.stem = nn.Conv2d(6, c, 3, padding=1)
        self.encode0 = dual_domain_blocks(n0, c, modes[0], separable=sep)
        self.down1 = conv3(c, 2 * c, separable=sep, stride=2)
        self.encode1 = dual_domain_blocks(n1, 2 * c, modes[1], separable=sep)
        self.down2 = conv3(2 * c, 4 * c, separable=sep, stride=2)
        self.encode2 = dual_domain_blocks(n2, 4 * c, modes[2], separable=sep)
        self.dikp = KernelPredictor(variant)
        self.pac = PositionAdaptiveConv(variant)
        self.dsrm = DualDomainRefiner(variant)
        initialise(self, seed)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the sharp images, coarse to fine."""
        if x.dim() != 4 or x.shape[1] != 3:
            raise SizeError(f"expected an image batch [B, 3, H, W], got {list(x.shape)}")
        self.variant.size.check(x.shape[2], x.shape[3])
        pyramid = [x]
        for _ in range(SCALES - 1):
            pyramid.insert(0, resize(pyramid[0], 0.5))

        y = pyramid[0]  # there is no estimate before the first scale but the blurred image itself
        state = self.initial_state(y)
        outputs: list[Tensor] = []
        for scale, blurred in enumerate(pyramid):
            if scale > 0:
                y, state = resize(y, 2), (resize(state[0], 2), resize(state[1], 2))
            y, state = self.step(blurred, y, state)
            outputs.append(y)
        return outputs

    def step(self, blurred: Tensor, previous: Tensor, state: State) -> tuple[Tensor, State]:
        """Sharpen at one scale, [B, 3, h, w] images and [B, 2C, h/2, w/2] states."""
        images = torch.cat([blurred, previous], dim=1)
        f0 = self.encode0(self.stem(images))
        f1 = self.encode1(self.down1(f0))
        f2 = self.encode2(self.down2(f1))
        kernels = self.dikp(f2)
        deconvolved = self.pac(images, kernels, f0)
        residual, state = self.dsrm(f0, f1, f2, deconvolved, state)
        return blurred + residual, state

    def initial_state(self, image: Tensor) -> State:
        """Return the empty memory for a first scale of ``image``'s size."""
        b, _, h, w = image.shape
        zero = image.new_zeros(b, 2 * self.variant.channels, h // 2, w // 2)
        return zero, zero

    def network_source(self) -> NetworkSource:
        """Return what this network says of itself; see :class:`~fdikp_edge.models.sources.NetworkSource`."""
        name = self.variant.name
        return NetworkSource(
            name=name,
            spec=name,
            load=lambda: self,
            inputs=(TensorSpec("image", (1, 3, None, None), layout="NCHW", color="RGB"),),
            outputs=("deblurred",),  # the last of the three images
            sizes=self.variant.size,
            defocus=DEFOCUS,
            photo=defocused_photo(),
            scale=1,
            trained=self.trained,
            note=self.weights_note,
        )
