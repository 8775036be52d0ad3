"""Measure the grid that FDIKP's upsampling leaves along edges: python -m fdikp_edge.models.upsampling_grid

The input is a defocused edge that is the same in every row. A network without a grid gives equal rows, so
all that varies along a column comes from the network. ``up0`` and ``up1`` are the two pixel shuffles of DSRM:
each writes four pixels from four groups of weights. With the groups of one averaged, its part of the grid
vanishes, and so does detail.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..runtime.program import put
from . import zoo
from .fdikp.fdikp import FDIKP
from .training.apertures import Aperture
from .training.camera import Camera, develop, to_linear
from .training.defocus import blur_by_map

SIDE, BORDER = 256, 48
PERIODS = (2, 4, 8, 16, 32)


def edges() -> Tensor:
    """Return a picture of defocused vertical edges, float32 [1, 3, SIDE, SIDE] in [0, 1], with equal rows."""
    picture = torch.full((3, SIDE, SIDE), 0.02)
    picture[:, :, 60:120] = 0.9
    picture[:, :, 123:126] = 0.5
    picture[:, :, 180:200] = 0.4
    radius = torch.full((SIDE, SIDE), 3.0)
    blurred = develop(blur_by_map(to_linear(picture), radius, Aperture()), Camera(shot=0, read=0))
    return blurred[:, :1].expand(-1, SIDE, -1)[None]


def amplitudes(picture: Tensor) -> dict[int, float]:
    """Return the largest amplitude along any column for each of :data:`PERIODS`, in steps of 1/255.

    ``picture`` is [1, 3, SIDE, SIDE]; its outermost BORDER pixels are left out.
    """
    inside = picture[0].mean(0)[BORDER : SIDE - BORDER, BORDER : SIDE - BORDER]
    rows = inside.shape[0]
    spectrum = torch.fft.rfft(inside - inside.mean(0), dim=0).abs() * (255 * 2 / rows)
    spectrum[-1] /= 2  # the highest frequency has no mirror image
    return {period: float(spectrum[rows // period].max()) for period in PERIODS}


def without_phases(model: FDIKP, layers: Sequence[str]) -> FDIKP:
    """Return a copy whose named pixel shuffles write four equal pixels, by averaged weights."""
    averaged = copy.deepcopy(model)
    for name in layers:
        layer = getattr(averaged.dsrm, name)
        if not isinstance(layer, nn.Conv2d) or layer.bias is None:
            raise TypeError(f"{name} is no convolution with a bias")
        for values in (layer.weight, layer.bias):
            groups = values.data.reshape(-1, 4, *values.shape[1:])
            values.data = groups.mean(1, keepdim=True).expand_as(groups).reshape(values.shape).clone()
    return averaged


def main() -> None:
    """Print a table: one row per network, one column per period in pixels."""
    parser = argparse.ArgumentParser(
        description="Measure the grid that upsampling leaves along edges, in 1/255."
    )
    parser.add_argument("--model", default="tiny", help="a variant or a file of weights")
    model = zoo.load(parser.parse_args().model)
    rows = {"as trained": model}
    for layers in (("up0",), ("up1",), ("up0", "up1")):
        rows[f"{' and '.join(layers)} averaged"] = without_phases(model, layers)
    put(" ".join(["period in pixels".ljust(24), *(f"{period:>6}" for period in PERIODS)]))
    with torch.no_grad():
        for name, network in rows.items():
            values = amplitudes(network(edges())[-1]).values()
            put(" ".join([name.ljust(24), *(f"{value:6.2f}" for value in values)]))


if __name__ == "__main__":
    main()
