"""Real inputs from a folder: one .npz or .npy file per sample, or photos.

``.npz`` holds an array for each input by its name. ``.npy`` holds the only input. A photo is put into the
only input where that is a picture of 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels. No pickle is ever read.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ...runtime.errors import SourceError
from ...runtime.images import FORMATS, read_photo
from ...runtime.inputs import Sample
from ...runtime.outside.files import open_regular
from ...runtime.outside.npy import read_npy, read_shape
from ...runtime.outside.zips import bounded_zip
from ...runtime.photo import Array
from ...runtime.pixels import middle
from .base import Samples, TensorSpec
from .crops import as_planes
from .users_code import users_code

MAX_SAMPLES = 1000
MAX_SAMPLE_BYTES = 2**31
ARRAYS = (".npz", ".npy")


def read_samples(folder: Path, specs: Sequence[TensorSpec]) -> list[Sample]:
    """Return the samples of a folder, sorted by file name.

    Args:
        folder: holds .npz, .npy or photo files; other files are ignored. Leading sides of 1 may be left out
            of an array.
        specs: the inputs, with all sides filled in.

    Returns:
        Samples whose arrays have the shapes and dtypes of ``specs``. Whole and floating-point numbers are
        converted where no value changes (float64 to float32: rounded).

    Raises:
        SourceError: the folder is missing or holds no samples or too many, or a file is damaged or does not
            fit the inputs; names the file and what was expected.
        ImageError: a photo cannot be read.
    """
    if not folder.is_dir():
        raise SourceError(f"--samples {folder}: " + ("not a folder" if folder.exists() else "no such folder"))
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise SourceError(f"--samples {folder}: cannot be read ({error.strerror or error})") from error
    files = [path for path in entries if path.suffix.lower() in (*ARRAYS, *FORMATS)]
    if not files:
        raise SourceError(f"--samples {folder}: holds no .npz, .npy or photo")
    if len(files) > MAX_SAMPLES:
        raise SourceError(f"--samples {folder}: holds {len(files)} samples; at most {MAX_SAMPLES} are read")
    return [Sample(path.name, read_sample(path, specs)) for path in files]


def checked(samples: Samples, name: str) -> Samples:
    """Return a source's samples function with its results checked like those of a folder.

    Raises:
        SourceError: when it is called, and it fails or returns anything else than samples for these inputs.
    """

    def read(specs: Sequence[TensorSpec]) -> list[Sample]:
        with users_code(f"samples of {name}"):
            returned: object = samples(specs)
        if not isinstance(returned, Sequence) or not 1 <= len(returned) <= MAX_SAMPLES:
            raise SourceError(f"samples of {name}: expected 1 to {MAX_SAMPLES} samples, got {returned!r:.80}")
        return [_checked(sample, specs, name) for sample in returned]

    return read


def _checked(sample: object, specs: Sequence[TensorSpec], name: str) -> Sample:
    if not isinstance(sample, Sample):
        raise SourceError(f"samples of {name}: expected a Sample, got {sample!r:.80}")
    place, arrays = f"samples of {name}: {sample.name!r:.80}", {}
    for spec in specs:
        if spec.name not in sample.arrays:
            raise SourceError(f"{place} has no array {spec.name!r}")
        arrays[spec.name] = _fitted(place, spec.name, np.asarray(sample.arrays[spec.name]), spec)
    return Sample(str(sample.name), arrays)


def read_sample(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return the arrays of one file by the names of the inputs; arguments and errors as
    :func:`read_samples`."""
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _read_npz(path, specs)
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise SourceError(f"{path}: the network has {len(specs)} inputs; write an .npz file with {names}")
    (spec,) = specs
    if suffix == ".npy":
        with open_regular(path, SourceError) as file:
            _check_elements(path, "", file, spec)
            return {spec.name: _fitted(path, "", _read_array(path, "", file, path.stat().st_size), spec)}
    return {spec.name: _photo(path, spec)}


def sample_shapes(path: Path, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays in one file by the names of the inputs, without reading the arrays.

    What :func:`read_sample` will complain about, such as a missing array, is left out.

    Raises:
        SourceError: the file is damaged.
    """
    if path.suffix.lower() == ".npz":
        with _npz(path) as (archive, entries):
            present = [name for name in names if f"{name}.npy" in entries]
            return {name: _stored_shape(archive, f"{name}.npy") for name in present}
    if len(names) != 1 or path.suffix.lower() != ".npy":
        return {}
    with open_regular(path, SourceError) as file:
        try:
            return {names[0]: read_shape(file)}
        except (ValueError, OSError) as error:
            raise SourceError(f"{path}: is not a readable .npy file ({str(error)[:200]})") from error


def _stored_shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as file:
        return read_shape(file)


def _read_npz(path: Path, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    wanted = {f"{spec.name}.npy": spec for spec in specs}
    with _npz(path) as (archive, entries):
        if missing := [name for name in wanted if name not in entries]:
            has = ", ".join(sorted(name.removesuffix(".npy") for name in entries)[:20]) or "nothing"
            raise SourceError(f"{path}: has no array {missing[0].removesuffix('.npy')!r}; it has {has:.200}")
        arrays = {}
        for name, spec in wanted.items():
            with archive.open(entries[name]) as file:
                _check_elements(path, spec.name, file, spec)
            with archive.open(entries[name]) as file:
                array = _read_array(path, spec.name, file, entries[name].file_size)
            arrays[spec.name] = _fitted(path, spec.name, array, spec)
        return arrays


@contextlib.contextmanager
def _npz(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Give the archive and its entries by name; whatever is wrong with it becomes a SourceError."""
    try:
        with open_regular(path, SourceError) as stream, bounded_zip(stream) as archive:
            yield archive, {entry.filename: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise SourceError(f"{path}: a damaged .npz file ({str(error)[:200]})") from error


def _check_elements(path: Path, name: str, file: IO[bytes], spec: TensorSpec) -> None:
    """Refuse an array that does not have as many elements as the input, before memory is taken for it: a
    megabyte of a compressed archive may hold gigabytes. Leaves a file that can seek at its beginning."""
    which = f"array {name!r}" if name else "the array"
    try:
        shape = read_shape(file)
    except ValueError:
        return  # said in full by _read_array
    finally:
        if file.seekable():
            file.seek(0)
    sides = [side for side in spec.shape if side is not None]
    if len(sides) == len(spec.shape) and math.prod(shape) != math.prod(sides):
        raise SourceError(
            f"{path}: {which} has shape {list(shape)}, input {spec.name!r} expects {list(spec.shape)}"
        )


def _read_array(path: Path, name: str, file: IO[bytes], size: int) -> Array:
    """Read a .npy file whose header claims no more than ``size`` bytes of plain numbers."""
    array = f" array {name!r}" if name else ""
    if size > MAX_SAMPLE_BYTES:
        raise SourceError(f"{path}:{array} has {size} bytes; at most {MAX_SAMPLE_BYTES} are read")
    try:
        return read_npy(file, size)
    except (ValueError, MemoryError) as error:
        raise SourceError(f"{path}:{array} is not a readable .npy file ({str(error)[:200]})") from error


def _fitted(path: Path | str, name: str, array: Array, spec: TensorSpec) -> Array:
    """Return an array in the shape and dtype of an input."""
    which = f"array {name!r}" if name else "the array"
    shape, left_out = array.shape, max(0, len(spec.shape) - array.ndim)
    if all(side == 1 for side in spec.shape[:left_out]):
        array = array.reshape(*spec.shape[:left_out], *shape)
    if array.shape != spec.shape:
        raise SourceError(
            f"{path}: {which} has shape {list(shape)}, input {spec.name!r} expects {list(spec.shape)}"
        )
    wanted = np.dtype(spec.dtype)
    if array.dtype.kind == "c" and wanted.kind != "c":
        raise SourceError(f"{path}: {which} is {array.dtype}, input {spec.name!r} expects {wanted}")
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise SourceError(f"{path}: {which} holds values that are not finite")
    with np.errstate(all="ignore"):
        converted = array.astype(wanted)
    # Floating-point numbers may be rounded to float32; a whole number has to stay what it is.
    same = np.isfinite(converted).all() if wanted.kind in "fc" else (converted == array).all()
    if not same:
        raise SourceError(
            f"{path}: {which} is {array.dtype} with values that {wanted} of input {spec.name!r} cannot hold"
        )
    _check_range(path, which, converted, spec)
    return np.ascontiguousarray(converted)


def _check_range(path: Path | str, which: str, array: Array, spec: TensorSpec) -> None:
    """Refuse values that are far outside the range: bytes from 0 to 255 where 0 to 1 was declared."""
    if spec.value_range is None or array.dtype.kind in "cb" or not array.size:
        return
    low, high = spec.value_range
    least, most = float(array.min()), float(array.max())
    if least < low - (high - low) or most > high + (high - low):
        raise SourceError(
            f"{path}: {which} holds values from {least:g} to {most:g}, input {spec.name!r} expects {low:g} "
            f"to {high:g}; scale them, or declare the range: --input {spec.name}={spec.words}:"
            f"{least:g}..{most:g}"
        )


def _photo(path: Path, spec: TensorSpec) -> Array:
    """Return the middle of a photo as the picture that an input expects."""
    if not spec.is_picture or not spec.color or spec.value_range is None:
        raise SourceError(
            f"{path}: a photo cannot be put into input {spec.name!r} ({spec.words}); give .npz or .npy files"
        )
    _, _, height, width = spec.shape
    assert height is not None and width is not None, "read_samples is given filled in sides"
    photo = read_photo(path)
    pixels = middle(photo.pixels, (height, width))
    if spec.color == "RGBA":
        alpha = np.full(photo.pixels.shape[:2], photo.white) if photo.alpha is None else photo.alpha
        pixels = np.concatenate([pixels, middle(alpha[..., None], (height, width))], axis=2)
    return as_planes(pixels, spec, photo.white)
