"""Measure deblurring on real pairs: the same scene defocused and sharp.

    python -m fdikp_edge.models.evaluate --pairs DIR
    python -m fdikp_edge.models.evaluate --pairs DIR --model tiny --model run/weights.safetensors

DIR holds the folders ``blur`` and ``sharp`` with files of the same names, or several such folders. For each
it prints the mean PSNR and SSIM (and LPIPS, where that package is installed) of the blurred pictures as they
are, of each network, and of two classical methods that know the best radius; --json has every picture.
Networks see the whole picture at once, padded by mirroring. Look at the pictures too: --crops DIR.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ..runtime import program
from ..runtime.errors import BadInputError, FdikpEdgeError
from ..runtime.files import replacing
from ..runtime.images import read_photo
from ..runtime.photo import Array
from ..runtime.pixels import psnr_db
from ..runtime.samples.pairs import Pair, find_pairs

INPUT = "input"
Method = Callable[[Array, Array], tuple[Array, dict[str, Any]]]
"""From (blurred, sharp), float [H, W, 3] in [0, 1], to (restored, parameters). Networks ignore ``sharp``."""


def network(model: Any) -> Method:
    """Return a network as a method."""
    import torch

    def method(blurred: Array, _: Array) -> tuple[Array, dict[str, Any]]:
        height, width = blurred.shape[:2]
        full = model.variant.size.pad_to(height, width)
        padding = ((0, full[0] - height), (0, full[1] - width), (0, 0))
        padded = np.pad(blurred.astype(np.float32), padding, mode="symmetric")
        with torch.no_grad():
            answer = model(torch.from_numpy(padded).permute(2, 0, 1)[None])[-1]
        restored: Array = answer[0, :, :height, :width].permute(1, 2, 0).clamp(0, 1).numpy()
        return restored, {}

    return method


def evaluate(
    pairs: Sequence[Pair],
    methods: dict[str, Method],
    *,
    crops: Path | None = None,
    side: int = 320,
    perceptual: Callable[[Array, Array], float] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield, for each pair, ``{"folder", "name", "scores": {method: {"psnr_db", "ssim", "lpips"?, …}}}``.

    Args:
        pairs: what to measure on.
        methods: by name; the blurred picture as it is comes first under "input".
        crops: a folder for one PNG a pair: blurred, each method, sharp, side by side.
        side: of the crop in pixels, around the place with most detail.
        perceptual: distance of (output, expected), see :func:`lpips`; left out without one.

    Raises:
        ImageError: a picture cannot be read.
        BadInputError: two partners differ in size.
    """
    for pair in pairs:
        blurred, sharp = (_picture(path) for path in (pair.blurred, pair.sharp))
        if blurred.shape != sharp.shape:
            raise BadInputError(f"{pair.blurred}: {blurred.shape[:2]} pixels, its partner {sharp.shape[:2]}")
        results = {INPUT: (blurred, dict[str, Any]())}
        results |= {name: method(blurred, sharp) for name, method in methods.items()}
        scores = {
            name: {**_scores(restored, sharp, perceptual), **parameters}
            for name, (restored, parameters) in results.items()
        }
        if crops is not None:
            pictures = [*(restored for restored, _ in results.values()), sharp]
            _write_crops(crops / f"{pair.folder}-{pair.blurred.stem.replace(':', '_')}.png", pictures, side)
        yield {"folder": pair.folder, "name": pair.blurred.stem, "scores": scores}


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the means over each folder: ``[{"folder", "n", "method", "psnr_db", "gain_db", "ssim", …}]``."""
    result = []
    for folder in dict.fromkeys(row["folder"] for row in rows):
        inside = [row["scores"] for row in rows if row["folder"] == folder]
        for method in inside[0]:
            means = {
                key: fmean(scores[method][key] for scores in inside)
                for key in ("psnr_db", "ssim", "lpips")
                if key in inside[0][method]
            }
            gain = means["psnr_db"] - fmean(scores[INPUT]["psnr_db"] for scores in inside)
            result.append({"folder": folder, "n": len(inside), "method": method, "gain_db": gain, **means})
    return result


def _picture(path: Path) -> Array:
    photo = read_photo(path)
    return photo.pixels.astype(np.float32) / photo.white


def _scores(
    output: Array, expected: Array, perceptual: Callable[[Array, Array], float] | None
) -> dict[str, float]:
    from skimage.metrics import structural_similarity

    ssim = structural_similarity(
        expected.astype(np.float64),
        output.astype(np.float64),
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    result = {"psnr_db": psnr_db(output, expected), "ssim": float(ssim)}
    if perceptual is not None:
        result["lpips"] = perceptual(output, expected)
    return result


def lpips() -> Callable[[Array, Array], float]:
    """Return LPIPS (Zhang et al. 2018, AlexNet) of two pictures, float [H, W, 3] in [0, 1]; 0 is alike.

    Raises:
        FdikpEdgeError: the package is missing, its torchvision is of another torch, or AlexNet's
            weights, which torchvision downloads on first use, cannot be had.
    """
    import torch

    try:
        import lpips as package

        model = package.LPIPS(net="alex", verbose=False).eval()
    except (ImportError, OSError, RuntimeError) as problem:  # RuntimeError: a torchvision of another torch
        reason = " ".join(str(problem).split())
        raise FdikpEdgeError(
            f"LPIPS cannot run: {reason}; it needs the package lpips, a torchvision made for torch"
            f" {torch.__version__}, and AlexNet's weights in torch hub's cache"
        ) from problem

    def distance(output: Array, expected: Array) -> float:
        pair = [torch.from_numpy(p).permute(2, 0, 1)[None].float() * 2 - 1 for p in (output, expected)]
        with torch.no_grad():
            return float(model(*pair))

    return distance


def _write_crops(path: Path, pictures: Sequence[Array], side: int) -> None:
    from PIL import Image

    top, left = _most_detailed(pictures[-1], side)
    parts = [p[top : top + side, left : left + side] for p in pictures]
    gap = np.ones((parts[0].shape[0], 4, 3), np.float32)
    strip = np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)
    with replacing(path) as temporary:
        Image.fromarray((strip * 255).round().astype(np.uint8)).save(temporary, "PNG")


def _most_detailed(picture: Array, side: int) -> tuple[int, int]:
    """Return (top, left) of the square of ``side`` pixels, on a coarse grid, with the steepest edges."""
    green = picture[..., 1]
    steep = np.abs(np.diff(green, axis=0))[:, :-1] + np.abs(np.diff(green, axis=1))[:-1]
    step = max(1, side // 4)
    places = [
        (top, left)
        for top in range(0, max(1, picture.shape[0] - side + 1), step)
        for left in range(0, max(1, picture.shape[1] - side + 1), step)
    ]
    return max(places, key=lambda p: float(steep[p[0] : p[0] + side, p[1] : p[1] + side].mean()))


def _show(rows: Sequence[dict[str, Any]], means: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(rows)} pairs, means over each folder")
    keys = [key for key in ("psnr_db", "gain_db", "ssim", "lpips") if key in means[0]]
    heads = {"psnr_db": "PSNR dB", "gain_db": "gain dB", "ssim": "SSIM", "lpips": "LPIPS"}
    for column in ("folder", "n", "method"):
        table.add_column(column)
    for key in keys:
        table.add_column(heads[key], justify="right")
    for row in means:
        numbers = [
            f"{row[key]:+.2f}" if key == "gain_db" else f"{row[key]:.{2 if 'db' in key else 4}f}"
            for key in keys
        ]
        table.add_row(row["folder"], str(row["n"]), row["method"], *numbers)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    program.put(captured.get(), end="")  # rich makes a reader who leaves early (`| head`) an error


def main() -> None:
    """Read the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.models.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="pairs, see above")
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="variant or weights file, again for more (default: all trained)",
    )
    parser.add_argument("--no-classical", action="store_true", help="leave the two classical methods out")
    parser.add_argument("--crops", type=Path, metavar="DIR", help="write side-by-side crops there")
    parser.add_argument("--json", action="store_true", help="print JSON with every picture")
    given = parser.parse_args()
    program.run(lambda: _run(given), extra="train")


def _run(given: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import track

    from . import classical, zoo
    from .fdikp.variants import VARIANTS

    pairs = find_pairs(given.pairs)
    if given.model:
        models = {name: zoo.load(name) for name in given.model}
    else:
        models = {name: model for name in VARIANTS if (model := zoo.load(name)).trained}
    methods: dict[str, Method] = {name: network(model) for name, model in models.items()}
    if not given.no_classical:
        methods |= {"wiener": classical.wiener, "richardson-lucy": classical.richardson_lucy}
    try:
        perceptual = lpips()
    except FdikpEdgeError as problem:
        perceptual = None
        Console(stderr=True).print(f"LPIPS left out: {problem}", markup=False)
    scored = evaluate(pairs, methods, crops=given.crops, perceptual=perceptual)
    rows = list(track(scored, "evaluating", total=len(pairs), console=Console(stderr=True)))
    means = summary(rows)
    if given.json:
        program.put(json.dumps({"means": means, "pairs": rows}, indent=2, allow_nan=False))
    else:
        _show(rows, means)


if __name__ == "__main__":
    main()
