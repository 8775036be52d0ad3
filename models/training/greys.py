"""Flat greys come back as they are: a last step after training.

    python -m fdikp_edge.models.training.greys run/weights.safetensors --out weights.safetensors

Nothing in a flat field is blurred, and a viewer sees an error of half an 8-bit step as a field of another
colour. Training leaves a smooth error over the levels. The last layer can take it away by its bias and the
mean of each of its kernels, which act on nothing finer than 3x3 pixels. Of all changes that do, the smallest
is taken (ridge regression: Hoerl and Kennard 1970).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from ...runtime import program
from ...runtime.errors import BadInputError, OutputError
from .. import zoo
from ..fdikp.fdikp import FDIKP

LEVELS = tuple(level / 255 for level in range(15, 256, 30))
"""Black is left out: what is below it is cut off anyway."""
BORDER = 16
"""Pixels along each edge that are not looked at; what lies beyond the border decides on them."""
ROUNDS = 5
"""The layer acts at three scales, so that one correction is not enough."""
RIDGE = 3e-3
"""What a change of the kernels costs. Those of tiny and small change by 1 to 4 % of their norm."""


@torch.no_grad()
def fit_greys(model: FDIKP) -> float:
    """Change the last layer until the errors on flat greys lie around zero, in each channel.

    Args:
        model: changed in place; on the CPU, in float32.

    Returns:
        The largest error left inside such pictures, of white at 1.
    """
    out = model.dsrm.out
    assert out.bias is not None, "the last layer has one"
    for _ in range(ROUNDS):
        features, low, high = _measured(model)
        wrong = ((low + high) / 2).double()
        centred = features - features.mean(0)
        square = centred.T @ centred + RIDGE * torch.eye(centred.shape[1], dtype=torch.double)
        change = torch.linalg.solve(square, centred.T @ (wrong.mean(0) - wrong))
        taps = out.weight[0, 0].numel()
        out.weight.add_((change.T / taps)[..., None, None].float())
        out.bias.sub_((wrong.mean(0) + features.mean(0) @ change).float())
    _, low, high = _measured(model)
    out.bias.sub_((low.amin(0) + high.amax(0)) / 2)
    _, low, high = _measured(model)
    return float(torch.maximum(-low, high).max())


@torch.no_grad()
def _measured(model: FDIKP) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the last layer reads, float64 [levels, C], and the least and largest error, [levels, 3]."""
    side = max(model.variant.size.pad_to(4 * BORDER, 4 * BORDER))
    inside = (slice(None), slice(BORDER, side - BORDER), slice(BORDER, side - BORDER))
    read: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Tensor]) -> None:
        read.append(given[0][0][inside].mean((1, 2)))

    errors, features = [], []
    handle = model.dsrm.out.register_forward_pre_hook(keep)
    try:
        for level in LEVELS:
            errors.append((model(torch.full((1, 3, side, side), level))[-1][0] - level)[inside])
            features.append(read[-1])  # of the last scale
    finally:
        handle.remove()
    stacked = torch.stack(errors)
    return torch.stack(features).double(), stacked.amin((2, 3)), stacked.amax((2, 3))


def main() -> None:
    """Read the command line and write the changed weights."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.models.training.greys",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", metavar="WEIGHTS", help="variant or weights file")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="weights file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace it")
    given = parser.parse_args()
    program.run(lambda: _run(given), extra="train")


def _run(given: argparse.Namespace) -> None:
    if given.out.exists() and not given.overwrite:  # before a minute of work
        raise OutputError(f"{given.out}: exists already; choose another name, or --overwrite")
    model = zoo.load(given.weights)
    if not model.trained:
        raise BadInputError(f"{given.weights}: has initial values only; train it first")
    _, low, high = _measured(model)
    before = float(torch.maximum(-low, high).max())
    after = fit_greys(model)
    zoo.save(model, given.out, overwrite=given.overwrite)
    program.put(
        f"{given.out}: flat greys are at most {after * 255:.2f} of 255 off, {before * 255:.2f} before"
    )


if __name__ == "__main__":
    main()
