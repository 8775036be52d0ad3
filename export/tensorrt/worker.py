"""Builds one TensorRT engine in a separate process: ``python -m fdikp_edge.export.tensorrt.worker FOLDER``.

A builder is native code that prints where it likes, takes what memory it likes and may take its process with
it; and Polygraphy serves one TensorRT per process. So :mod:`.build` puts ``request.json`` into a folder,
runs this there, and reads ``answer.json``. Neither torch nor onnx is imported.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...runtime.device.build import cached_calibrator, mark_float32
from ...runtime.errors import BadInputError, TargetUnavailableError
from ...runtime.onnx_nodes import onnx_nodes
from ...runtime.tensorrt.engines import Capability, capability_text, refusals
from ...runtime.tensorrt.features import MODULES, Features, Product, features_of_module, mismatches

Problem = Literal["input", "unavailable", "memory", "builder"]

REQUEST, ANSWER = "request.json", "answer.json"


@dataclass(frozen=True)
class Request:
    """What to build.

    ``onnx`` and ``engine`` are paths to read and to write. ``capabilities`` is for a TensorRT that builds
    ahead of time; empty means the processor of this machine. ``weak`` asks for types chosen under builder
    flags, at ``precision``, with the layers named in ``float32_layers`` in float32 and ranges from the file
    ``calibration``. ``native``: the file holds transforms.
    """

    product: Product
    onnx: str
    engine: str
    precision: str
    capabilities: tuple[Capability, ...] = ()
    weak: bool = False
    native: bool = False
    float32_layers: tuple[str, ...] = ()
    calibration: str | None = None
    timing_cache: str | None = None


@dataclass
class Answer:
    """What came of it; ``refused``, ``problem`` or ``unwritten`` (the system's error): why no engine is.

    ``kind`` says what the problem is: ``input`` (something in the request), ``unavailable`` (something that
    this machine or this TensorRT lacks), ``memory`` (it ran out), or ``builder`` (the builder failed).
    """

    version: str = ""
    layers: int = 0
    refused: list[str] = field(default_factory=list)
    problem: str = ""
    kind: Problem = "builder"
    unwritten: int = 0


def main(folder: Path) -> int:
    """Read the request in ``folder``, build, and write the answer there."""
    content = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
    content["capabilities"] = tuple(map(tuple, content["capabilities"]))
    answer = Answer()
    try:
        build(Request(**{**content, "float32_layers": tuple(content["float32_layers"])}), answer)
    except TargetUnavailableError as error:
        answer.problem, answer.kind = str(error), "unavailable"
    except BadInputError as error:
        answer.problem, answer.kind = str(error), "input"
    except MemoryError:
        answer.problem, answer.kind = "out of memory", "memory"
    (folder / ANSWER).write_text(json.dumps(asdict(answer)), encoding="utf-8")
    return 1 if answer.refused or answer.problem or answer.unwritten else 0


def build(request: Request, answer: Answer) -> None:
    """Parse the ONNX file and build the engine through Polygraphy, noting in ``answer`` how it went.

    Raises:
        BadInputError: a compute capability that the TensorRT here does not build for.
        TargetUnavailableError: the TensorRT here cannot do what is asked for.
    """
    # Polygraphy reads this once, when it is imported.
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1" if request.product == "tensorrt-rtx" else "0"
    from polygraphy.backend.trt import EngineBytesFromNetwork
    from polygraphy.backend.trt.loader import BaseNetworkFromOnnx
    from polygraphy.exception import PolygraphyException
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.EXTRA_VERBOSE  # TensorRT's list of the engine's layers arrives here
    trt = _module(request.product)
    features = features_of_module(trt)
    answer.version = features.version
    for note in mismatches(trt):
        G_LOGGER.warning(note)
    if request.weak and not features.has_weak_typing:
        raise TargetUnavailableError(
            f"{features.product} {features.version} has no weak typing (no flags for float16 and int8, no "
            "calibrators): build it strongly typed, which is the default"
        )
    if request.native and not features.has_native_dft:
        raise TargetUnavailableError(
            f"{features.product} {features.version} has no transform of its own (TensorRT has from 11.2): "
            "leave out transforms=native"
        )
    for pair in request.capabilities if features.has_ahead_of_time else ():
        if not hasattr(trt.ComputeCapability, "SM{}{}".format(*pair)):
            raise BadInputError(
                f"compute capability {capability_text(pair)} is not supported by this release "
                f"({features.version})"
            )
    data = Path(request.onnx).read_bytes()
    strong = features.has_strong_typing_flag and not request.weak
    try:
        builder, network, parser = BaseNetworkFromOnnx(strongly_typed=strong)()
        if not parser.parse(data):
            answer.refused = refusals(parser, onnx_nodes(data)) or ["the parser gave no reason"]
            return
        answer.layers = int(network.num_layers)
        config = _config(request, features, trt)(builder, network)
        with contextlib.suppress(AttributeError):
            config.clear_flag(trt.BuilderFlag.TF32)  # ten bits of mantissa are not float32
        engine = EngineBytesFromNetwork((builder, network), config, save_timing_cache=request.timing_cache)()
    except PolygraphyException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        answer.problem = lines[0] if lines else "the builder failed"
        return
    try:
        Path(request.engine).write_bytes(memoryview(engine))
    except OSError as error:
        answer.unwritten = error.errno or errno.EIO


def _module(product: Product) -> Any:
    import importlib

    try:
        return importlib.import_module(MODULES[product])
    except ImportError as error:
        raise TargetUnavailableError(f"{MODULES[product]} does not load: {error}") from error


def _config(request: Request, features: Features, trt: Any) -> Any:
    """Return what makes Polygraphy's builder configuration; layers keep their names and types."""
    detailed = trt.ProfilingVerbosity.DETAILED
    if features.has_ahead_of_time:
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        return CreateConfigRTX(compute_capabilities=list(request.capabilities), profiling_verbosity=detailed)
    from polygraphy.backend.trt import CreateConfig

    cache = request.timing_cache if features.has_timing_cache else None
    if not request.weak:
        return CreateConfig(load_timing_cache=cache, profiling_verbosity=detailed)
    ranges = Path(request.calibration).read_bytes() if request.calibration else b""
    return _Weak(
        CreateConfig(
            load_timing_cache=cache,
            profiling_verbosity=detailed,
            fp16=request.precision in ("fp16", "int8"),
            int8=request.precision == "int8",
            calibrator=cached_calibrator(trt, ranges) if request.precision == "int8" else None,
            precision_constraints="prefer" if request.float32_layers else None,
        ),
        functools.partial(mark_float32, trt, names=request.float32_layers),
    )


class _Weak:
    """A configuration that first asks for the types of the layers that must not be narrowed."""

    def __init__(self, config: Any, mark: Callable[[Any], None]) -> None:
        self._config = config
        self._mark = mark

    def __call__(self, builder: Any, network: Any) -> Any:
        self._mark(network)
        return self._config(builder, network)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
