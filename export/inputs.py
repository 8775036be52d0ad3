"""What a network is tried on: photos where its input is a picture in colours, else what its source brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..models.sources.base import NetworkSource, TensorSpec
from ..runtime.errors import BadInputError
from ..runtime.images import read_photo
from ..runtime.inputs import Sample, noise
from ..runtime.photo import Array, Photo
from ..runtime.pixels import crop
from ..runtime.samples import sample_photos
from ..runtime.tensors import TensorContract, described


def samples_of(
    source: NetworkSource,
    inputs: Sequence[TensorContract],
    photos: Sequence[Photo | Path | str] = (),
) -> list[Sample]:
    """Return samples for the inputs of a built model.

    The photos given, if its only input is a picture in colours; else what the source brings; else the photos
    that are shipped, for such a network, and seeded noise in the value range for any other.

    Raises:
        BadInputError: photos for a network that takes something else, or samples that do not fit.
        ImageError: a path that is not a readable photograph.
    """
    if photos and not takes_photos(inputs):
        raise BadInputError(
            f"photos fit a network that takes one picture in colours; this one takes {described(inputs)}. "
            "Give its inputs as arrays, with --samples"
        )
    if not photos and source.samples is not None:
        specs = _specs(source, inputs)
        return [Sample(one.name, fitted(one, inputs, specs)) for one in source.samples(specs)]
    if takes_photos(inputs):
        return [of_photo(photo, inputs[0]) for photo in photos or sample_photos()]
    return noise(inputs)


def takes_photos(inputs: Sequence[TensorContract]) -> bool:
    """Whether the only input is a picture in colours, so that any photo shows what the network does."""
    return len(inputs) == 1 and inputs[0].has_colors


def has_samples(source: NetworkSource, inputs: Sequence[TensorContract]) -> bool:
    """Whether something shows what the network is used on, so that ranges can be taken from it."""
    return source.samples is not None or takes_photos(inputs)


def of_photo(given: Photo | Path | str, contract: TensorContract) -> Sample:
    """Return the middle of a photo as a network's only input."""
    photo = given if isinstance(given, Photo) else read_photo(given)
    name = photo.source.name if photo.source is not None else "photo"
    return Sample(name, {contract.name: crop(photo, contract)})


def fitted(sample: Sample, inputs: Sequence[TensorContract], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return the arrays of a sample as the built model takes them.

    Samples hold what the network itself takes, ``specs``; by the image contract ``uint8_nhwc`` pictures
    become bytes.

    Raises:
        BadInputError: an input is missing, or has another shape.
    """
    arrays = {}
    for contract, spec in zip(inputs, specs, strict=True):
        array = sample.arrays.get(contract.name)
        if array is None:
            raise BadInputError(
                f"sample {sample.name}: has no array for the input {contract.name}; it has "
                f"{', '.join(sample.arrays) or 'none'}"
            )
        if contract.layout == "NHWC" and array.dtype != np.uint8:
            low, high = spec.value_range or (0.0, 1.0)
            unit = np.clip((array - low) / (high - low), 0, 1)
            array = np.rint(unit * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        if array.shape != contract.shape:
            raise BadInputError(
                f"sample {sample.name}: {contract.name} has the shape {list(array.shape)}, expected "
                f"{list(contract.shape)}"
            )
        arrays[contract.name] = np.ascontiguousarray(array, contract.dtype)
    return arrays


def _specs(source: NetworkSource, inputs: Sequence[TensorContract]) -> list[TensorSpec]:
    size = next((contract.size for contract in inputs if contract.is_picture), None)
    return [spec.at(size) for spec in source.inputs]
