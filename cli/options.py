"""The options that several commands share, each described once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Network: tiny, small, base or a weights file of FDIKP (.safetensors, .pth); your own code as "
        "net.py:NAME or package.module:NAME; net.pt2; spandrel:FILE.",
    ),
]
ModelArgOption = Annotated[
    list[str],
    typer.Option(
        "--model-arg",
        metavar="NAME=VALUE",
        help="Argument for the class or function that --model names, such as width=32. Repeatable.",
    ),
]
ModelWeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="PATH",
        help="Weights for the network that --model names (.safetensors, or .pth with tensors only).",
        show_default="as the code makes them",
    ),
]
InputOption = Annotated[
    list[str],
    typer.Option(
        "--input",
        metavar="NAME=SHAPE",
        help="Describe an input: noise=1x1x256x256, then :dtype, :lo..hi, and :rgb or :grey if photos can go "
        "in. Repeatable, in the order of forward's parameters.",
        show_default="as the network says, else one picture",
    ),
]
SamplesOption = Annotated[
    Path | None,
    typer.Option(
        "--samples",
        metavar="DIR",
        help="Real inputs to verify and calibrate with: one .npz (arrays by input name), .npy or photo per "
        "sample.",
        show_default="photos for pictures, else noise",
    ),
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="FILE.py:NAME",
        help="Function of (reference, result) that returns a dict of figures, shown beside the usual ones.",
        show_default="none",
    ),
]
TargetsOption = Annotated[
    list[str],
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Target runtime, such as onnx (`doctor` lists them), or all. Repeatable.",
    ),
]
PrecisionsOption = Annotated[
    list[str],
    typer.Option(
        "--precision",
        "-p",
        metavar="NAME",
        help="Precision (fp32, fp16, int8), or all that the target supports. Repeatable.",
    ),
]
SizeOption = Annotated[
    str,
    typer.Option("--size", "-s", metavar="HxW", help="Input height x width in pixels."),
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
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
ArtifactArgument = Annotated[
    Path, typer.Argument(metavar="ARTIFACT", help="Artifact folder, written by deploy or export.")
]
ArtifactsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="ARTIFACT", help="Artifact folders, written by deploy or export."),
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
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="Weights file that the artifact was built from.",
        show_default="as in its passport",
    ),
]
SaveOption = Annotated[bool, typer.Option("--save/--no-save", help="Write the result into the passport.")]

# Defaults of repeatable options. Named, because a mutable default argument is error-prone elsewhere.
ALL = ["all"]
FP32 = ["fp32"]
NONE: list[Path] = []
NO_TEXTS: list[str] = []
