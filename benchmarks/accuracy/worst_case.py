"""The picture on which an artifact disagrees most with its reference, looked for and kept.

A handful of photos says how an artifact does on those. Here it is run on pictures made to be hard
(:mod:`.hard_cases`), and then on changes of the worst found so far: other pieces of photos, mixtures,
gains, flips, noise. What comes out worst is kept as a PNG beside the artifact, and is the first to be tried
next time. Every picture tried has 8 bits a sample, as a photo has, so that the file holds exactly what was
run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import CheckFailedError, ImageError
from ...runtime.images import read_photo, write_photo
from ...runtime.photo import Array, Photo
from ...runtime.pixels import crop, middle, mirrored, psnr_db
from ...runtime.progress import Progress
from ...runtime.samples import sample_photos
from ...runtime.sessions import Session
from .budgets import budget_for
from .hard_cases import hard_cases
from .parity import ReferenceCall, as_picture

ELITE = 4
"""How many of the worst pictures the search goes on from."""
MOST_WORDS = 160


@dataclass(frozen=True)
class Tried:
    """One picture: what it is, and how far results differ on it, white at 1.

    ``spent`` is how many times the budget that is, by the worse of largest difference and mean square; it and
    ``max_abs`` are infinite where the artifact's result is not finite.
    """

    name: str
    pixels: Array
    max_abs: float
    psnr_db: float
    spent: float


@dataclass(frozen=True)
class WorstCase:
    """The worst picture found. ``photos_max_abs`` is the largest difference on the photos as they are.

    ``own_psnr_db`` is how near the network itself stays to its answer when the picture is changed by less
    than 8 bits can hold, half a step of uniform noise (which is at 59 dB): where that is low, so is what
    any rounding leaves, however careful. ``None`` where the input is bytes.
    """

    worst: Tried
    photos_max_abs: float
    tried: int
    file: Path | None
    own_psnr_db: float | None = None

    @property
    def photo(self) -> Photo:
        """The picture as a photo, named after its file."""
        return Photo(self.worst.pixels, source=self.file or Path(self.worst.name))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; ``max_abs`` is ``null`` where the result is not finite."""
        finite = math.isfinite(self.worst.max_abs)
        return {
            "name": self.worst.name,
            "file": None if self.file is None else str(self.file),
            "max_abs": self.worst.max_abs if finite else None,
            "psnr_db": self.worst.psnr_db if finite else None,
            "finite": finite,
            "photos_max_abs": self.photos_max_abs if math.isfinite(self.photos_max_abs) else None,
            "tried": self.tried,
            "own_psnr_db": self.own_psnr_db,
        }


def default_file(artifact: Path, folder: Path | None = None) -> Path:
    """Return the file of an artifact's worst case: next to the artifact, or in a folder."""
    return (folder or artifact.parent) / f"{artifact.name}.worst.png"


def find_worst(
    session: Session,
    reference: ReferenceCall,
    photos: Sequence[Photo | Path | str] = (),
    *,
    file: Path | None = None,
    evaluations: int = 96,
    seed: int = 0,
    progress: Progress | None = None,
) -> WorstCase:
    """Look for the picture on which a session and the reference differ most.

    Args:
        session: an opened artifact.
        reference: the network in eager.
        photos: photographs to start from; the samples of this package when empty.
        file: where the worst case is kept; tried first if it is there, and written when a worse one is found.
        evaluations: how many pictures to try at most; those made to be hard are a part of them.
        seed: of the search.
        progress: called with (done, total, image).

    Raises:
        ImageError: a photo, or the kept file, that cannot be read.
        OutputError: ``file`` cannot be written.
    """
    start = [one if isinstance(one, Photo) else read_photo(one) for one in photos or sample_photos()]
    told = progress or (lambda done, total, now: None)
    return _Search(session, reference, evaluations, seed, told).run(start, file)


class _Search:
    def __init__(
        self, session: Session, reference: ReferenceCall, evaluations: int, seed: int, progress: Progress
    ) -> None:
        self.session = session
        self.reference = reference
        self.evaluations = evaluations
        self.random = np.random.default_rng(seed)
        self.progress = progress
        self.budget = budget_for(session.artifact.passport.precision, session.output.dtype)
        self.size = session.input.size
        self.tried: list[Tried] = []

    def run(self, photos: Sequence[Photo], file: Path | None) -> WorstCase:
        pictures = [photo.to_8bit().pixels for photo in photos]
        kept = self._kept(file)
        if kept is not None:
            self.attempt("kept from an earlier run", kept)
        plain = [self.attempt(f"photo {i + 1}", middle(p, self.size)) for i, p in enumerate(pictures)]
        for name, pixels in hard_cases(self.size, pictures):
            if self.done:
                break
            self.attempt(name, pixels)
        while not self.done:
            self.attempt(*self.change(pictures))
        worst = max(self.tried, key=lambda one: one.spent)
        if file is not None and (kept is None or worst.name != "kept from an earlier run"):
            write_photo(file, Photo(worst.pixels))
        photos_max_abs = max(one.max_abs for one in plain)
        return WorstCase(worst, photos_max_abs, len(self.tried), file, self.own_psnr_db(worst.pixels))

    @property
    def done(self) -> bool:
        """Whether the tries are used up, or it cannot get worse."""
        return len(self.tried) >= self.evaluations or any(math.isinf(one.spent) for one in self.tried)

    def attempt(self, name: str, pixels: Array) -> Tried:
        """Run both on a picture of the right size."""
        self.progress(len(self.tried), self.evaluations, f"trying {name}")
        x = crop(Photo(pixels), self.session.input)
        expected = as_picture(self.reference(x), self.session.output, f"{name} in PyTorch")
        try:
            output = as_picture(self.session.run(x), self.session.output, name)
        except CheckFailedError:
            one = Tried(name, pixels, math.inf, -math.inf, math.inf)
        else:
            max_abs, psnr = float(np.abs(output - expected).max()), psnr_db(output, expected)
            one = Tried(name, pixels, max_abs, psnr, self.budget.spent(max_abs, psnr))
        self.tried.append(one)
        return one

    def own_psnr_db(self, pixels: Array) -> float | None:
        """Return how near the reference stays to its answer when a picture moves by half an 8-bit step."""
        x = crop(Photo(pixels), self.session.input)
        if x.dtype != np.float32:
            return None
        noise = np.random.default_rng(0).uniform(-0.5 / 255, 0.5 / 255, x.shape)
        moved = x + np.asarray(noise, np.float32)
        first, second = (
            as_picture(self.reference(given), self.session.output, "the worst case in PyTorch")
            for given in (x, moved)
        )
        return psnr_db(second, first)

    def change(self, pictures: Sequence[Array]) -> tuple[str, Array]:
        """Return a change of one of the worst pictures so far."""
        elite = sorted(self.tried, key=lambda one: -one.spent)[:ELITE]
        # The worst one most often.
        parent = elite[min(int(self.random.exponential(1.0)), len(elite) - 1)]
        pixels = parent.pixels.astype(np.float64)
        kind = str(self.random.choice(["crop", "mix", "halves", "gain", "flip", "noise", "shift", "invert"]))
        if kind == "crop":
            number = int(self.random.integers(len(pictures)))
            return f"a piece of photo {number + 1}", self.piece(pictures[number])
        if kind in ("mix", "halves"):
            other = self.piece(pictures[int(self.random.integers(len(pictures)))]).astype(np.float64)
            if self.random.random() < 0.5:
                other = elite[int(self.random.integers(len(elite)))].pixels.astype(np.float64)
            if kind == "mix":
                weight = self.random.uniform(0.1, 0.9)
                pixels = weight * pixels + (1 - weight) * other
            else:
                middle = int(self.random.integers(1, pixels.shape[1]))
                pixels = np.concatenate([pixels[:, :middle], other[:, middle:]], axis=1)
        elif kind == "gain":
            pivot = self.random.choice([0.0, 127.5, 255.0])
            pixels = pivot + (pixels - pivot) * self.random.uniform(0.5, 2.0)
        elif kind == "flip":
            pixels = np.flip(pixels, axis=int(self.random.integers(3)))  # axis 2: red becomes blue
        elif kind == "noise":
            pixels = pixels + self.random.choice([1, 4, 16]) * self.random.standard_normal(pixels.shape)
        elif kind == "shift":
            steps = [int(self.random.integers(side)) for side in self.size]
            pixels = np.roll(pixels, steps, axis=(0, 1))
        else:
            pixels = 255.0 - pixels
        changed: Array = np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)
        return f"{parent.name}, {kind}"[-MOST_WORDS:], changed

    def piece(self, pixels: Array) -> Array:
        """Return a piece of a photo from anywhere."""
        pixels = mirrored(pixels, self.size)
        spare = [have - want for have, want in zip(pixels.shape, self.size, strict=False)]
        top, left = (int(self.random.integers(most + 1)) for most in spare)
        return pixels[top : top + self.size[0], left : left + self.size[1]]

    def _kept(self, file: Path | None) -> Array | None:
        if file is None or not file.exists():
            return None
        pixels = read_photo(file).to_8bit().pixels
        if pixels.shape[:2] != tuple(self.size):
            raise ImageError(f"{file}: is not a worst case of this artifact: its size differs; remove it")
        return pixels
