"""``fdikp-edge``: the commands and their help."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..runtime.errors import BadInputError, FdikpEdgeError
from ..runtime.program import prepare_streams, put
from . import log
from .commands.bench import bench
from .commands.bisect import bisect
from .commands.bundle import bundle
from .commands.calibrate import calibrate
from .commands.deploy import deploy
from .commands.doctor import doctor
from .commands.export import export
from .commands.gate import gate
from .commands.inspect import inspect
from .commands.keygen import keygen
from .commands.lab import run as run_lab
from .commands.lower import lower
from .commands.profile import profile
from .commands.report import merge
from .commands.run.command import run as run_artifact
from .commands.serve import serve
from .commands.setup import setup
from .commands.sign import sign
from .commands.verify import verify
from .config import read_config
from .guard import complain, exit_on_terminate, guarded
from .words import Commands

_USAGE_ERROR: Any = typer.BadParameter.__base__  # Typer names its kinds of wrong use, and not what they share
# Rich draws our tables, but not the help: importing it would be half of the time that --help takes.
app = typer.Typer(
    name="fdikp-edge",
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Start here:
  fdikp-edge deploy                        everything with defaults, into ./fdikp-edge-out
  fdikp-edge deploy --target onnx --size 512x512 --out build
  fdikp-edge deploy --model net.py:Net     your own network
  fdikp-edge run photo.jpg --artifact build/tiny-onnx-fp32-512x512 --out sharp.png
  fdikp-edge doctor                        what this machine can build and run

\b
Exit codes: 0 success, 1 a budget or check failed, 2 wrong usage or bad input, 130 stopped by Ctrl-C.
`fdikp-edge COMMAND --help` explains a command, with examples.""",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        put(f"fdikp-edge {version('fdikp-edge')}")
        raise typer.Exit


@app.callback()
def _about(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Log each step to stderr, with time and details of errors."),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Log each step to this file too; a file that exists is continued."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="File with defaults of options (docs/configuration.md).",
            show_default="fdikp-edge.toml, or [tool.fdikp-edge] in pyproject.toml, in this folder",
        ),
    ] = None,
    no_config: Annotated[bool, typer.Option("--no-config", help="Read no such file.")] = False,
) -> None:
    """Deploy FDIKP, or any network that calls torch.fft, to edge runtimes, and verify every artifact.

    The network is lowered once: real matrix products replace complex numbers and FFT operators. Each runtime
    gets one artifact folder. Its passport records hashes, the plan, and the measured parity and latency.
    """
    try:
        if config is not None and no_config:
            raise BadInputError("--config and --no-config: give one of the two")
        log.start(verbose, log_file)
        if not no_config:
            _set_defaults(ctx, config)
    except FdikpEdgeError as error:
        complain(str(error))
        raise typer.Exit(error.exit_code) from None


def _set_defaults(ctx: typer.Context, asked: Path | None) -> None:
    commands = ctx.command.commands  # type: ignore[attr-defined]  # Typer's group, whose class it does not name
    path, defaults = read_config(asked, commands)
    ctx.default_map = defaults
    if taken := defaults.get(ctx.invoked_subcommand or ""):
        complain(f"{path} sets {', '.join(sorted(taken)).replace('_', '-')}", kind="note")


_SIZES = """\b
Sizes: for tiny and small each side is a multiple of 128 and at least 256, for base a multiple of 32 and at
least 32. Your own network takes what it can be traced with. An error names the nearest valid sizes."""

_EXAMPLES: dict[Callable[..., int], str] = {
    deploy: f"""{_SIZES}

\b
Examples:
  fdikp-edge deploy
  fdikp-edge deploy --model tiny --target onnx --target openvino --precision fp32 --size 256x256 --out build
  fdikp-edge deploy --model runs/best.safetensors --target all --precision all --size 512x768 --json
  fdikp-edge deploy --contract uint8 --photo mine.jpg --out build --overwrite
  fdikp-edge deploy --model net.py:Net --weights net.pth --size 128x128 --target onnx
  fdikp-edge deploy --model fno.py:FNO --input field=1x1x64x64:-3..3 --samples fields/ --precision all

\b
Writes OUT/report.json, OUT/report.html and one folder per artifact, such as OUT/tiny-onnx-fp32-256x256.
A target that cannot be built or run on this machine is listed with the reason.""",
    calibrate: f"""{_SIZES}

\b
Examples:
  fdikp-edge calibrate photos/ --model tiny --out table.json
  fdikp-edge calibrate --model small --size 512x512 --target openvino --out small-512.json
  fdikp-edge calibrate photos/ --target openvino --max-drop-db 0.1 --min-speedup 1.2 --out mixed.json

\b
A table is valid for one network, size and set of weights; other builds reject it.""",
    export: f"""{_SIZES}

\b
Examples:
  fdikp-edge export --target onnx
  fdikp-edge export --model base --target openvino --size 256x384 --out build
  fdikp-edge export --target onnx --contract uint8 --overwrite

\b
Artifacts are written as OUT/MODEL-TARGET-PRECISION-HxW with state "unverified"; `verify` updates it.""",
    verify: """\b
Examples:
  fdikp-edge verify build/tiny-onnx-fp32-256x256
  fdikp-edge verify build/tiny-onnx-fp32-256x256 --photo a.jpg --photo b.png --json
  fdikp-edge verify build/mine --weights runs/best.safetensors
  fdikp-edge verify build/tiny-onnx-int8-256x256 --worst-case

\b
Exits with 1 if an artifact exceeds the budget of its precision. Without PyTorch, an artifact is checked
against the golden output stored in it.""",
    bench: """\b
Examples:
  fdikp-edge bench build/tiny-onnx-fp32-256x256
  fdikp-edge bench build/* --threads 2 --runs 500
  fdikp-edge bench build/tiny-onnx-fp32-256x256 --no-eager --json
  fdikp-edge bench build/tiny-onnx-fp32-256x256 --loadgen logs --runs 1024

\b
All samples count, slow ones included: p99 is the latency that 99 of 100 calls stay under.""",
    bisect: """\b
Examples:
  fdikp-edge bisect build/tiny-onnx-fp32-256x256
  fdikp-edge bisect build/tiny-openvino-int8-256x256 --photo mine.jpg --json
  fdikp-edge bisect new/tiny-onnx-fp32-256x256 --against old/tiny-onnx-fp32-256x256

\b
Exits with 1 if a faulty module was found, 0 if the artifact is within its budget.""",
    gate: """\b
Examples:
  fdikp-edge gate build --baseline baseline.json --update --reason "first baseline"
  fdikp-edge gate build --baseline baseline.json --junit gate.xml
  fdikp-edge gate build/report.json --baseline baseline.json --slowdown 10 --seconds 300 --json

\b
Exits with 1 if a check failed. Checks that were skipped or left undecided are listed
and do not fail.""",
    run_artifact: """\b
Examples:
  fdikp-edge run photo.jpg --artifact build/tiny-onnx-fp32-256x256 --out sharp.png
  fdikp-edge run a.jpg b.tif --artifact build/tiny-onnx-fp32-256x256 --out sharp/
  fdikp-edge run album/ --artifact build/tiny-onnx-fp32-256x256 --out sharp/ --overwrite
  fdikp-edge run field.npz --artifact build/fno-onnx-fp32-1x1x64x64 --out result.npz

\b
JPEG, PNG, TIFF and WebP of any size. Depth, colour profile, orientation and transparency are kept. An input
file is replaced only with --overwrite, and only if it is also the output.""",
    profile: """\b
Examples:
  fdikp-edge profile build/tiny-onnx-fp32-256x256
  fdikp-edge profile build/tiny-onnx-fp32-256x256 --queries 50 --seconds 5 --soak 10 --json
  fdikp-edge profile build/tiny-onnx-fp32-256x256 --replay tegrastats.log

\b
The JSON has the format of report.json. On a device, use `python model.bundle profile`.""",
    bundle: """\b
Examples:
  fdikp-edge bundle build/tiny-onnx-fp32-512x512 build/tiny-onnx-fp16-512x512 --for jetson
  fdikp-edge bundle build/* --for jetson --table table.json --out model.bundle --overwrite --json

\b
Copy the file to the device and run `python3 model.bundle build` there; docs/jetson.md shows each step.""",
    lower: """\b
Examples:
  fdikp-edge lower net.onnx --out plain.onnx
  fdikp-edge lower net.onnx --out plain.onnx --input x=1x3x256x256 --json
  fdikp-edge lower net.onnx --out plain.onnx --no-check --overwrite

\b
Exits with 1 if the written file differs from the original. Where neither ONNX Runtime nor the reference
evaluator of the onnx package runs the original, the result is written as unverified, with the reason.""",
    inspect: """\b
Examples:
  fdikp-edge inspect build/tiny-onnx-fp32-256x256
  fdikp-edge inspect build/tiny-onnx-fp32-256x256 --json
  fdikp-edge inspect model.bundle

\b
Hashes are checked first: a modified artifact or bundle is rejected.""",
    keygen: """\b
Examples:
  fdikp-edge keygen --out team.key
  fdikp-edge sign build --key team.key
  fdikp-edge run photo.jpg --artifact build/tiny-onnx-fp32-256x256 --require-signature team.key.pub

\b
What a signature covers, and what it cannot do: docs/threat-model.md.""",
    sign: """\b
Examples:
  fdikp-edge sign build/tiny-onnx-fp32-256x256 --key team.key
  fdikp-edge sign build --key team.key --json
  fdikp-edge sign model.bundle --key team.key

\b
An artifact that is built again must be signed again.""",
    serve: """\b
Examples:
  fdikp-edge serve build/tiny-web-fp32-256x256
  fdikp-edge serve build/tiny-web-fp32-256x256 --port 0

\b
An artifact of the target web is such a page; docs/web.md shows how to publish it.""",
    setup: """\b
Examples:
  fdikp-edge setup litert
  fdikp-edge setup litert --again --json

\b
An environment fits one version of Python and of PyTorch; `doctor` says when it must be made anew.""",
    doctor: """\b
Examples:
  fdikp-edge doctor
  fdikp-edge doctor --json""",
}

for _command, _examples in _EXAMPLES.items():
    app.command(epilog=_examples)(guarded(_command))
app.command(name="deblur", hidden=True, epilog=_EXAMPLES[run_artifact])(guarded(run_artifact))


def _group(name: str, text: str) -> typer.Typer:
    """Return a group of commands, such as ``report merge``, as a part of the program."""
    group = typer.Typer(name=name, no_args_is_help=True, rich_markup_mode=None, help=text)
    group.callback()(lambda: None)  # else a group of one command is that command
    app.add_typer(group)
    return group


_group("report", "Work with reports of several runs.").command(
    epilog="""\b
Examples:
  fdikp-edge report merge pc/report.json board/report.json --out both
  fdikp-edge report merge pc board --name "desk PC" --name "Jetson" --out both --json"""
)(guarded(merge))
_group("lab", "Run a bundle on many boards.").command(
    epilog="""\b
Examples:
  fdikp-edge lab run lab.yaml
  fdikp-edge lab run lab.yaml --out results --json

\b
docs/lab.md shows such a file. Exits with 1 if a board failed."""
)(guarded(run_lab))


def run() -> None:
    """Run the command line; the entry point of ``fdikp-edge``."""
    exit_on_terminate()
    prepare_streams()
    try:
        code = app(prog_name="fdikp-edge", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except _USAGE_ERROR as error:
        _refuse(error)
        code = error.exit_code
    sys.exit(code or 0)


def _refuse(error: Any) -> None:
    """Print what is wrong with the words typed, in one line; the whole help where there were none."""
    path = error.ctx.command_path if error.ctx else "fdikp-edge"
    message = str(error.format_message()).strip().replace(": Value error, ", ": ")  # Typer's prefix
    if "\n" in message:
        error.show()
    else:
        complain(f"{message} (`{path} --help` shows what it takes)")
