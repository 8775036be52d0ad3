"""The ``tensorrt`` and ``tensorrt-rtx`` targets on an NVIDIA GPU.

Before an engine is loaded, everything about it is held against its passport and this machine: driver and
library, product and version, compute capability, and the bytes' own hash. An engine is code, so it is
deserialised from the very bytes that were hashed, and one that carries host code of its own is never allowed
to run it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import Artifact
from ..errors import ArtifactError, BadInputError, DeviceError, TargetUnavailableError
from ..layers import UNKNOWN, Layer
from ..onnx_nodes import onnx_nodes
from ..passport import TensorContract
from ..photo import Array
from ..tensorrt.caches import cache_folder, read_cache, write_cache
from ..tensorrt.cuda import (
    OUT_OF_MEMORY,
    WAITING,
    Device,
    Graph,
    HostMemory,
    Memory,
    gpu_problem,
    open_cuda,
)
from ..tensorrt.engines import LOG_FILE, ONNX_FILE, EngineFacts, capability_text, name_places
from ..tensorrt.features import MODULES, Features, Product, features_of_module, product_of
from .base import Arrays, Port, Session, check_ports, import_runtime, refused
from .placement import Placement, Ran, collect, layers_on_dla

_INSTALL: dict[Product, str] = {
    "tensorrt-rtx": 'pip install "fdikp-edge[tensorrt-rtx]"',
    "tensorrt": "apt install python3-libnvinfer on a Jetson, or NVIDIA's packages elsewhere",
}
_TITLES: dict[Product, str] = {"tensorrt-rtx": "TensorRT-RTX", "tensorrt": "TensorRT"}
_WARM_UPS = 2  # TensorRT finishes setting itself up in the first runs, which must not be captured


class TensorRtSession(Session):
    """``model.engine`` on the first NVIDIA GPU, through pinned memory on a stream of its own.

    With ``cuda_graph`` copies and network are captured once and launched as a whole, which takes the cost
    of queueing hundreds of kernels off the processor. ``waiting`` says how a run waits for the device (one of
    :data:`~..tensorrt.cuda.WAITING`). With ``mapped`` the engine works on this machine's memory itself and
    nothing is copied; by default it does where the GPU shares that memory, as on a Jetson.
    """

    _engine: Any = None
    _context: Any = None

    def __init__(
        self,
        artifact: Artifact,
        threads: int,
        *,
        cuda_graph: bool = False,
        waiting: str = "spin",
        mapped: bool | None = None,
    ) -> None:
        """Check the engine against passport and machine, load it, and allocate what it needs.

        Raises:
            TargetUnavailableError: no driver, an old one, no GPU, no TensorRT, another version of it, or a
                GPU that the engine was not built for.
            ArtifactError: the engine was altered, is refused, or is not what the passport says.
            DeviceError: the GPU failed, or has too little memory.
            BadInputError: ``waiting`` is unknown, or ``mapped`` and the GPU does not share memory.
        """
        super().__init__(artifact, threads)
        if waiting not in WAITING:
            raise BadInputError(f"waiting: expected one of {', '.join(WAITING)}; got {waiting!r}")
        facts = EngineFacts.of(artifact)
        if problem := gpu_problem():
            raise TargetUnavailableError(f"target {facts.product}: {problem}")
        self._trt: Any = import_runtime(MODULES[facts.product], facts.product, _INSTALL[facts.product])
        self._features: Features = features_of_module(self._trt)
        self._cuda = open_cuda()
        self._cuda.wait_by(waiting)  # before the device is set up
        self._device: Device = self._cuda.device()
        self._mapped = self._device.shares_memory if mapped is None else mapped
        if self._mapped and not self._device.shares_memory:
            raise BadInputError(
                f"mapped memory: {self._device.name} has memory of its own; leave the choice out"
            )
        facts.check(product_of(self._trt), self._features.version, self._device)
        self._stack = contextlib.ExitStack()
        self._graph: Graph | None = None
        self._runs = 0
        self._graph_wanted = cuda_graph
        try:
            with _memory_as_message(artifact):
                self._open(artifact.read(artifact.passport.model_file))
        except BaseException:
            self.close()
            raise

    def _open(self, data: bytes) -> None:
        """Load the engine from its bytes and set up everything that a run needs."""
        title = _TITLES[self._features.product]
        log = _log(self._trt)
        runtime = self._trt.Runtime(log)
        runtime.engine_host_code_allowed = False
        if self._features.has_engine_validity:
            validity, notes = runtime.get_engine_validity(data[: runtime.engine_header_size])
            if validity == self._trt.EngineValidity.INVALID:
                raise refused(self.artifact, title, ValueError(f"{log.reason()} ({notes})"))
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise refused(self.artifact, title, ValueError(log.reason()))
        self._stack.callback(setattr, self, "_engine", None)
        self._engine = engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        check_ports(
            self.artifact, [self._port(name) for name in inputs], [self._port(name) for name in outputs]
        )
        self._stream = self._stack.enter_context(self._cuda.stream())
        self._stack.callback(setattr, self, "_context", None)  # before the stream it works on
        self._context = self._make_context(engine)
        if self._context is None:
            raise DeviceError(f"{self.artifact.path}: {title} cannot run the engine: {log.reason()}")
        self._marks = tuple(self._stack.enter_context(self._cuda.event()) for _ in range(2))
        self._sources = {contract.name: self._buffers(contract) for contract in self.inputs}
        self._results = {contract.name: self._buffers(contract) for contract in self.outputs}

    def _make_context(self, engine: Any) -> Any:
        if not self._features.has_runtime_cache:
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        cache = config.create_runtime_cache()
        folder = cache_folder(self._features.product)
        if folder is not None:
            entry = self.artifact.passport.files[self.artifact.passport.model_file]
            names = (entry["sha256"], capability_text(self._device.capability), self._features.version)
            file = folder / f"{'-'.join(names)}.cache"
            kept = read_cache(file)
            if kept is not None:
                cache.deserialize(kept)
            self._stack.callback(_keep, file, cache)
        config.set_runtime_cache(cache)
        return engine.create_execution_context(config)

    def _port(self, name: str) -> Port:
        dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
        return name, list(self._engine.get_tensor_shape(name)), dtype.name

    def _buffers(self, contract: TensorContract) -> tuple[HostMemory, Memory | None, np.ndarray[Any, Any]]:
        """Allocate a tensor here, and on the device unless that sees it here; tell the engine where it is."""
        dtype = np.dtype(contract.dtype)
        nbytes = math.prod(contract.shape) * dtype.itemsize
        host = self._stack.enter_context(self._cuda.host_alloc(nbytes, mapped=self._mapped))
        device = None if self._mapped else self._stack.enter_context(self._cuda.malloc(nbytes))
        address = host.device_handle if device is None else device.handle
        if not self._context.set_tensor_address(contract.name, address):
            raise ArtifactError(f"{self.artifact.path}: the engine does not take the tensor {contract.name}")
        return host, device, np.frombuffer(host.buffer, dtype).reshape(contract.shape)

    def _run(self, arrays: Arrays) -> Arrays:
        if self._context is None:
            raise ArtifactError(f"{self.artifact.path}: the session is closed")
        for name, x in arrays.items():
            np.copyto(self._sources[name][2], x)
        if self._graph_wanted and self._graph is None and self._runs >= _WARM_UPS:
            self._graph = self._stack.enter_context(self._cuda.capture(self._stream, self.queue))
        if self._graph is None:
            self.queue()
        else:
            self._graph.launch(self._stream)
        self._stream.synchronize()
        self._runs += 1
        return {name: array.copy() for name, (_, _, array) in self._results.items()}

    def queue(self) -> None:
        """Queue the network, with the copies to the device and back where memory is not mapped; nothing
        waits."""
        for host, device, _ in self._sources.values():
            if device is not None:
                self._cuda.to_device(device, host, self._stream)
        timed = not self._graph_wanted  # events that a graph has captured keep no time
        if timed:
            self._marks[0].record(self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise DeviceError(f"{self.artifact.path}: the engine could not be run")
        if timed:
            self._marks[1].record(self._stream)
        for host, device, _ in self._results.values():
            if device is not None:
                self._cuda.to_host(host, device, self._stream)

    def layer_ms(self, x: Mapping[str, Array]) -> list[tuple[str, float]]:
        """Run once with TensorRT's profiler: (name, milliseconds) of each layer. Slows every later run."""
        times: list[tuple[str, float]] = []

        class Times(self._trt.IProfiler):  # type: ignore[misc,name-defined]
            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.append((str(layer_name), float(ms)))

        profiler = Times()
        self._graph, self._graph_wanted = None, False  # layers of a captured graph are not told apart
        self._context.profiler = profiler
        self.run(x)
        return times

    def layer_times(self, x: Mapping[str, Array], runs: int) -> list[Layer]:
        """Return the engine's layers; a first run warms up and does not count.

        TensorRT names what it fused after all of its parts, so a layer may belong to several modules.
        """
        nodes = onnx_nodes(self.artifact.read(ONNX_FILE))
        self.layer_ms(x)
        sums: dict[str, float] = {}
        for _ in range(runs):
            for name, ms in self.layer_ms(x):
                sums[name] = sums.get(name, 0.0) + ms
        return [
            Layer(name, "", ", ".join(name_places(name, nodes)) or UNKNOWN, ms / runs)
            for name, ms in sums.items()
        ]

    def placement(self, x: Mapping[str, Array], runs: int) -> Placement:
        """Return the layers of the engine on the GPU, and those that the builder's log lists on a DLA.

        Engines are built for the GPU, so a DLA would be a fallback.
        """
        log = b""
        with contextlib.suppress(ArtifactError):  # an engine of an older release, which kept no log
            log = self.artifact.read(LOG_FILE)
        on_dla = layers_on_dla(log.decode("utf-8", errors="replace"))
        layers = self.layer_times(x, runs)
        ran = [Ran("layer", "DLA" if layer.name in on_dla else "GPU", layer.ms) for layer in layers]
        return collect(ran, "TensorRT's profiler, and the builder's log", {"DLA"})

    @property
    def kernel_ms(self) -> float | None:
        """Milliseconds of the last run from the first to the last kernel, by the device's own clock.

        ``None`` before the first run, and in a CUDA graph.
        """
        return self._marks[1].since(self._marks[0]) if self._runs and not self._graph_wanted else None

    @property
    def device_memory_bytes(self) -> int | None:
        """What the engine works in on the device, without its weights."""
        sizes = (getattr(self._engine, f"device_memory_size{version}", None) for version in ("_v2", ""))
        return next((int(size) for size in sizes if size is not None), None)

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        capability = capability_text(self._device.capability)
        return {
            "runtime": _TITLES[self._features.product],
            "version": self._features.version,
            "device": f"{self._device.name}, compute capability {capability}",
            "threads": self.threads,
            "arithmetic": arithmetic(
                self.artifact.passport.precision, self.artifact.passport.precision_census
            ),
            "cuda_graph": int(self._graph_wanted),
            "waiting": self._cuda.waiting(),
            "tensors": "mapped" if self._mapped else "copied",
        }

    def close(self) -> None:
        """Free the engine and all memory, in the opposite order of their making."""
        self._graph = None
        self._stack.close()


def arithmetic(precision: str, census: Mapping[str, int]) -> str:
    """Name the types that an engine computes in; ``census`` counts the values of its file by type."""
    if precision == "bf16":
        return "bfloat16 and float32" if census.get("float", 0) else "bfloat16"
    half = precision == "fp16" or (precision == "int8" and census.get("float16", 0) > 0)
    floats = "float16 and float32" if half else "float32"
    return f"int8 and {floats}" if precision == "int8" else floats


class _Log:
    """What TensorRT logged last; it says why it returned nothing only there."""

    problem = ""
    remark = ""

    def reason(self) -> str:
        """Return the last problem, or else the last remark, or that there was none."""
        return self.problem or self.remark or "it gave no reason"


def _log(trt: Any) -> Any:
    class Log(trt.ILogger, _Log):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.problem = message
            elif severity != trt.ILogger.VERBOSE:
                self.remark = message

    return Log()


def _keep(file: Path, cache: Any) -> None:
    data = cache.serialize()
    if data is not None:
        write_cache(file, bytes(memoryview(data)))


@contextlib.contextmanager
def _memory_as_message(artifact: Artifact) -> Iterator[None]:
    """Say of a full device what was being opened, and how much is free."""
    try:
        yield
    except DeviceError as error:
        if error.code != OUT_OF_MEMORY:
            raise
        free, total = open_cuda().memory()
        raise DeviceError(
            f"{artifact.path}: the GPU's memory is full ({free >> 20} of {total >> 20} MB free): {error}. "
            "Close other programs, or use a smaller size",
            error.code,
        ) from error
