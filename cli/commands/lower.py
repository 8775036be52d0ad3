"""``fdikp-edge lower``: an ONNX file from elsewhere, with its transforms rewritten as products."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...runtime.errors import BadInputError, CheckFailedError
from .. import show
from ..options import JsonOption, OverwriteOption
from ..parsing import parse_input_sizes

if TYPE_CHECKING:
    from ...export.onnx.source.check import RewriteCheck
    from ...export.onnx.source.source import OnnxSource

NO_SIZES: list[str] = []


def lower(
    network: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX file with DFT or STFT nodes.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="ONNX file to write.")],
    input: Annotated[
        list[str],
        typer.Option(
            "--input",
            metavar="NAME=SIZES",
            help="Sizes of an input that the file leaves open, such as x=1x3x256x256. Repeatable.",
            show_default="as in the file",
        ),
    ] = NO_SIZES,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare the result with the original on noise.")
    ] = True,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Rewrite the Fourier transforms of an ONNX file.

    DFT and STFT nodes become matrix products with stored constants; window operators of known size become
    constants. All other nodes stay as they are.
    """
    sizes = parse_input_sizes(input)
    with show.working("reading the file") as step:
        from ...export.onnx.source.source import check_destination, load_onnx_source
        from ...models.sources.onnx_file import is_onnx

        check_destination(network, out, overwrite=overwrite)
        step(1, 3, "rewriting")
        try:
            source = load_onnx_source(network, sizes)
        except BadInputError as error:
            if is_onnx(str(network)) or sizes:
                raise
            raise BadInputError(
                f"{network}: `lower` rewrites ONNX files. `deploy` and `export` lower PyTorch networks"
            ) from error
        step(2, 3, "comparing with the original")
        result = source.check() if check else None
        if result is None or result.state != "failed":
            source.write(out, overwrite=overwrite)
    if json:
        show.as_json(_facts(source, result, out))
    else:
        _print(source, result, out)
    if result is not None and result.state == "failed":
        raise CheckFailedError(f"{network}: the rewritten file {result.reason}; nothing was written")
    return 0


def _facts(source: OnnxSource, result: RewriteCheck | None, out: Path) -> dict[str, Any]:
    return {
        "source": str(source.path),
        "sha256": source.sha256,
        "out": str(out),
        "inputs": [dataclasses.asdict(port) for port in source.inputs],
        "outputs": [dataclasses.asdict(port) for port in source.outputs],
        "rewritten": [node.to_dict() for node in source.rewritten],
        "check": {"state": "unverified", "reason": "not checked", "errors": {}}
        if result is None
        else dataclasses.asdict(result),
    }


def _print(source: OnnxSource, result: RewriteCheck | None, out: Path) -> None:
    show.table(
        f"{source.path} to {out}: {len(source.rewritten)} nodes rewritten",
        ("node", "operator", "length#", "direction", "bytes#"),
        [
            (node.name, node.operator, str(node.length), node.direction, f"{node.bytes:,}")
            for node in source.rewritten
        ],
    )
    rows = [("inputs", ", ".join(port.text for port in source.inputs))]
    rows.append(("outputs", ", ".join(port.text for port in source.outputs)))
    rows.append(("state", "unverified" if result is None else result.state))
    if result is None:
        rows.append(("reason", "not checked"))
    else:
        rows += [(f"relative error to {judge}", f"{error:.1e}") for judge, error in result.errors.items()]
        rows += [("note" if result.errors else "reason", result.reason)] if result.reason else []
    show.facts("", rows)
