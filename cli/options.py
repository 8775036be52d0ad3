"""The options that several commands share, each described once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..runtime.errors import BadInputError
from .parsing import check_model, parse_bounds, parse_size, photo_size
from .source import source_of

if TYPE_CHECKING:
    from ..calibration.mixed_precision import Bounds
    from ..models.sources.base import NetworkSource, TensorSpec

SIZE = "256x256"

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Network: tiny, small, base or a weights file of FDIKP; net.py:Net or package.module:Net (a "
        "class, a function or an object of your own); hf:ORG/NAME[@REV] (weights of FDIKP); "
        "spandrel:FILE; net.pt2; net.onnx.",
    ),
]
ArtifactModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Network that the artifact was built from, as given to deploy.",
        show_default="the variant in its passport",
    ),
]
ModelArgOption = Annotated[
    list[str],
    typer.Option(
        "--model-arg",
        metavar="KEY=VALUE",
        help="Argument of the class or function that --model names; VALUE is JSON or text. Repeatable.",
    ),
]
NetworkWeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="PATH",
        help="Weights to load into the network: .safetensors, .pth, a folder with model.safetensors, or "
        "hf:ORG/NAME[@REV].",
        show_default="as --model creates it",
    ),
]
InputOption = Annotated[
    list[str],
    typer.Option(
        "--input",
        metavar="SPEC",
        help="What the network takes, as NAME=1x1x256x256[:dtype][:lo..hi]; in order. Repeatable.",
        show_default="one RGB image",
    ),
]
SamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--samples",
        metavar="DIR",
        help="Inputs to verify and calibrate with: a .npz file per sample, or .npy files or photos.",
        show_default="photos, or noise",
    ),
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="Measure of your own, reported beside the others: file.py:function or package.module:function.",
        show_default="none",
    ),
]
TargetsOption = Annotated[
    list[str],
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Target runtime, such as onnx (`doctor` lists them), or all. Repeatable. all downloads nothing: "
        "web, whose runtime comes through npm, is in it once a build that named it has fetched that.",
    ),
]
PrecisionsOption = Annotated[
    list[str],
    typer.Option(
        "--precision",
        "-p",
        metavar="NAME",
        help="Precision (fp32, fp16, bf16, int8), or all that the target supports. Repeatable.",
    ),
]
SizeOption = Annotated[
    list[str],
    typer.Option(
        "--size",
        "-s",
        metavar="HxW",
        help="Height x width in pixels; one number is a square. Repeatable for deploy and export, where "
        "for:HxW means up to three sizes for photos of that size.",
        show_default=SIZE,
    ),
]


class PixelFormat(str, Enum):
    """How pixels go in and out of an artifact, as typed on the command line."""

    FLOAT = "float"
    UINT8 = "uint8"

    @property
    def contract(self) -> str:
        """The name of the image contract in the passport."""
        return {"float": "float_nchw", "uint8": "uint8_nhwc"}[self.value]


ContractOption = Annotated[
    PixelFormat,
    typer.Option(
        metavar="NAME",
        help="Image format of input and output: float (1x3xHxW, 0 to 1) or uint8 (1xHxWx3, camera bytes).",
    ),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=1024, help="CPU threads to use.", show_default="all available"),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="PATH",
        help="Calibration table for fp16 and int8, written by `calibrate`.",
        show_default="computed from the included photos",
    ),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        "--max-drop-db",
        metavar="DB",
        help="Keep layers in float until the PSNR loss against the sharp photos is at most DB.",
        show_default="no limit",
    ),
]
MinSpeedupOption = Annotated[
    float | None,
    typer.Option(
        "--min-speedup",
        metavar="TIMES",
        help="Keep enough layers in int8 to be at least TIMES as fast as fp32 on this machine.",
        show_default="no limit",
    ),
]
PairsOption = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="DIR",
        help="Photo pairs (folders blur and sharp) on which the PSNR loss is measured.",
        show_default="defocused calibration photos",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Use untrained weights initialised with this seed.",
        show_default="trained weights, if included",
    ),
]


WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Weights file that the artifact was built from.",
        show_default="as in its passport",
    ),
]


@dataclass(frozen=True)
class NetworkOptions:
    """Which network is built, and for which inputs: what every command asks that lowers one."""

    model: ModelOption = "tiny"
    model_arg: ModelArgOption = field(default_factory=list)
    weights: NetworkWeightsOption = None
    input: InputOption = field(default_factory=list)
    samples: SamplesOption = None
    metric: MetricOption = None
    size: SizeOption = field(default_factory=lambda: [SIZE])
    contract: ContractOption = PixelFormat.FLOAT
    seed: SeedOption = None

    def sizes(self) -> list[tuple[int, int]]:
        """Return the sizes in pixels, each once, before torch is loaded.

        Raises:
            SizeError: one is no size, or not one that the variant takes.
            UnknownNameError: a bare word that names no network.
        """
        given: list[tuple[int, int]] = []
        for text in self.size:
            photo = photo_size(text)
            given += [parse_size(text)] if photo is None else self._sizes_for(photo)
        sizes = list(dict.fromkeys(given))
        for size in sizes:
            check_model(self.model, size)
        return sizes

    def _sizes_for(self, photo: tuple[int, int]) -> list[tuple[int, int]]:
        """Return sizes of tiles for photos of that size; the network says which it takes."""
        from ..models.fdikp.variants import VARIANTS
        from ..runtime.buckets.suggest import suggest_sizes

        check_model(self.model)
        rule = VARIANTS[self.model].size if self.model in VARIANTS else self.source().sizes
        return suggest_sizes(*photo, *(() if rule is None else (rule.accepts,)))

    def only_size(self, why: str) -> tuple[int, int]:
        """Return the only size; :class:`BadInputError` with ``why`` if there are several."""
        first, *others = self.sizes()
        if others:
            raise BadInputError(f"{why}: give one --size")
        return first

    def source(self) -> NetworkSource:
        """Return the network that was named; raises as :func:`fdikp_edge.models.sources.find.find` does."""
        return source_of(
            self.model, self.model_arg, self.weights, self.input, self.samples, self.seed, self.metric
        )

    def words(self) -> tuple[str, ...]:
        """Return the words of the command line that name the network."""
        words = ["--model", self.model]
        for value in self.model_arg:
            words += ["--model-arg", value]
        for value in self.input:
            words += ["--input", value]
        for option in ("weights", "samples", "metric", "seed"):
            if (value := getattr(self, option)) is not None:
                words += [f"--{option}", str(value)]
        return tuple(words)


@dataclass(frozen=True)
class ReferenceOptions:
    """Which network an artifact was built from, for commands that compare the two."""

    model: ArtifactModelOption = None
    model_arg: ModelArgOption = field(default_factory=list)
    weights: WeightsOption = None
    input: InputOption = field(default_factory=list)
    samples: SamplesOption = None
    seed: SeedOption = None

    def source(self, named: str, recorded: Sequence[TensorSpec] = ()) -> NetworkSource:
        """Return the network that was named, or else ``named``, the artifact's.

        ``recorded`` are its inputs where ``--input`` says nothing.
        """
        inputs = self.input or recorded
        return source_of(
            self.model or named, self.model_arg, self.weights, inputs, self.samples, self.seed, None
        )

    def given(self) -> list[str]:
        """Return the options that were given, as typed: without PyTorch they mean nothing."""
        names = (field.name for field in fields(self) if getattr(self, field.name) not in (None, []))
        return [f"--{name.replace('_', '-')}" for name in names]


@dataclass(frozen=True)
class MixedPrecisionOptions:
    """The bounds that decide which int8 layers stay in float."""

    max_drop_db: MaxDropOption = None
    min_speedup: MinSpeedupOption = None
    pairs: PairsOption = None

    def bounds(self) -> Bounds | None:
        """Return the bounds, ``None`` without any; raises :class:`BadInputError` for what does not fit."""
        return parse_bounds(self.max_drop_db, self.min_speedup, self.pairs)


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
ArtifactArgument = Annotated[
    Path, typer.Argument(metavar="ARTIFACT", help="Artifact folder, written by deploy or export.")
]
ArtifactsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="ARTIFACT", help="Artifact folders, or the folder of a deploy."),
]
PhotosOption = Annotated[
    list[Path],
    typer.Option(
        "--photo",
        metavar="PATH",
        help="Photo to check with; the worst result counts. Repeatable.",
        show_default="included samples",
    ),
]
OutFolderOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="PATH", help="Output folder; each artifact is a folder in it.")
]
SaveOption = Annotated[
    bool | None,
    typer.Option(
        "--save/--no-save",
        help="Add the result to the passport. With --save it is an error if the passport cannot be written.",
        show_default="where it can be written",
    ),
]

# Defaults of repeatable options. Named, because a mutable default argument is error-prone elsewhere.
ALL = ["all"]
FP32 = ["fp32"]
NONE: list[Path] = []
OUT_FOLDER = Path("fdikp-edge-out")
