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
        help="Variant (tiny, small, base) or a weights file (.safetensors, .pth).",
    ),
]
TargetsOption = Annotated[
    list[str],
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Runtime to build for, such as onnx (`doctor` lists them), or all. Repeatable.",
    ),
]
PrecisionsOption = Annotated[
    list[str],
    typer.Option(
        "--precision",
        "-p",
        metavar="NAME",
        help="Number format (fp32, fp16, int8), or all that a target offers. Repeatable.",
    ),
]
SizeOption = Annotated[
    str,
    typer.Option(
        "--size", "-s", metavar="HxW", help="Height x width in pixels that the network is built for."
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
        help="What goes in and out: float (1x3xHxW, 0 to 1) or uint8 (1xHxWx3 bytes, as cameras deliver).",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run wrote there.")
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=1024,
        help="Processor threads to use.",
        show_default="all this process may use",
    ),
]
TableOption = Annotated[
    Path | None,
    typer.Option(
        "--table",
        metavar="PATH",
        help="Calibration table for fp16 and int8, as `calibrate` writes it.",
        show_default="made from the photos that are shipped",
    ),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        "--max-drop-db",
        metavar="DB",
        help="Give int8 layers back to floats until this is all that is lost against the sharp photos.",
        show_default="no bound",
    ),
]
MinSpeedupOption = Annotated[
    float | None,
    typer.Option(
        "--min-speedup",
        metavar="TIMES",
        help="Keep enough int8 layers to stay this many times as fast as floats on this machine.",
        show_default="no bound",
    ),
]
PairsOption = Annotated[
    Path | None,
    typer.Option(
        "--pairs",
        metavar="DIR",
        help="Blurred and sharp photos (folders blur and sharp) that a bound is judged on.",
        show_default="calibration photos, defocused",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Use the initial weights of this seed instead of trained ones.",
        show_default="trained weights if shipped",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout instead of a table.")]
ArtifactArgument = Annotated[
    Path, typer.Argument(metavar="ARTIFACT", help="An artifact folder, as deploy and export write it.")
]
ArtifactsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="ARTIFACT", help="Artifact folders, as deploy and export write them."),
]
PhotosOption = Annotated[
    list[Path],
    typer.Option(
        "--photo",
        metavar="PATH",
        help="Photograph to check with; the worst counts. Repeatable.",
        show_default="samples",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", help="Weights file the artifact was made from.", show_default="as its passport says"
    ),
]
SaveOption = Annotated[bool, typer.Option("--save/--no-save", help="Write the result into the passport.")]

# Defaults of repeatable options. Named, since a list literal as a default is a trap elsewhere.
ALL = ["all"]
FP32 = ["fp32"]
NONE: list[Path] = []
