"""One network in several sizes: an artifact for each, in one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..models.sources.base import NetworkSource
from ..runtime.buckets.buckets import Buckets
from ..runtime.buckets.folders import size_name
from ..runtime.buckets.write import writing_buckets
from ..runtime.errors import BadInputError
from .build import build_artifact
from .lowered import LoweredModel
from .target import Target


def check_sizes(source: NetworkSource, sizes: Sequence[tuple[int, int]], table: object = None) -> None:
    """Check that a network can be built in several sizes at once; one size is always right.

    Raises:
        BadInputError: there is no size; or several, and the network takes one size only, or a calibration
            table was given, which belongs to one size.
    """
    if not sizes:
        raise BadInputError("no size to build for")
    if len(sizes) == 1:
        return
    if not source.leaves_size_open:
        raise BadInputError(f"{source.name}: takes one size only, so several mean nothing; leave out --size")
    if table is not None:
        raise BadInputError(
            "a calibration table belongs to one size: leave out --table, so that each size is calibrated by "
            "itself, or give one --size"
        )


def build_sizes(
    models: Sequence[LoweredModel],
    sizes: Sequence[tuple[int, int]],
    target: str | Target,
    precision: str,
    dest: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda size: None,
) -> Buckets:
    """Build a network that was lowered at several sizes for one target, whole or not at all.

    Precisions that need a calibration table get one for each size, from the network's own samples.

    Args:
        models: the network, lowered at each of ``sizes``.
        sizes: height and width in pixels, which name the artifacts in ``dest``.
        target: a target, or its name.
        precision: one that the target has.
        dest: the folder; its artifacts of other sizes are removed where it is overwritten.
        overwrite: replace a folder of sizes that exists.
        progress: called with each size before it is built.

    Raises:
        BadInputError: two models of one size, or of different networks.
        OutputError: ``dest`` exists already, holds something else, or cannot be written.
        FdikpEdgeError: as :func:`.build.build_artifact`.
    """
    if len(set(sizes)) != len(sizes):
        raise BadInputError(f"{dest}: two of the sizes are the same")
    with writing_buckets(Path(dest), overwrite=overwrite) as folder:
        for model, size in zip(models, sizes, strict=True):
            progress(size_name(size))
            build_artifact(model, target, precision, folder / size_name(size))
        Buckets.open(folder)  # what is written is what a device will accept
    return Buckets.open(dest)
