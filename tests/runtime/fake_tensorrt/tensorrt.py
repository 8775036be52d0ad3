"""A module with exactly the names that one release of TensorRT has, for code to be run against.

``FAKE_TENSORRT`` names the file of ``tensorrt_api/`` to be; with ``FAKE_TENSORRT_FAILS`` each build logs as
much as a real one and then fails with that text, or ends its process by the signal of that name. A name that
is not recorded there raises ``AttributeError``, as in the release. An "engine" is a note of what was asked
for, with the ONNX file behind it; running one runs that file in ONNX Runtime, on the memory whose addresses
it was given. Test use only.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

_shape = json.loads(Path(os.environ["FAKE_TENSORRT"]).read_text(encoding="utf-8"))
_names: dict[str, list[str]] = _shape["attributes"]
__version__ = _shape["version"]
BuilderFlag, NetworkDefinitionCreationFlag, DataType, TensorIOMode, LayerType, DeviceType = (
    enum.IntEnum(name, {member: i for i, member in enumerate(_names[name])})
    for name in [
        "BuilderFlag",
        "NetworkDefinitionCreationFlag",
        "DataType",
        "TensorIOMode",
        "LayerType",
        "DeviceType",
    ]
)
enqueue: Any = None
"""Set by a test: ``enqueue(stream, function)`` queues work on its device."""


class _Only:
    """An object whose public attributes are those recorded for its class."""

    def __init_subclass__(cls) -> None:
        cls._recorded = next((set(_names[c.__name__]) for c in cls.__mro__ if c.__name__ in _names), set())

    def __getattribute__(self, name: str) -> Any:
        kind = type(self)
        if not name.startswith("_") and kind.__module__ == __name__ and name not in kind._recorded:
            raise AttributeError(f"{kind.__name__} of TensorRT {__version__} has no {name}")
        return object.__getattribute__(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        ours = type(self).__module__ == __name__  # what a caller derives is the caller's
        if ours and not name.startswith("_") and name not in type(self)._recorded:
            raise AttributeError(f"{type(self).__name__} of TensorRT {__version__} has no {name}")
        object.__setattr__(self, name, value)


class ILogger(_Only):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Logger(ILogger):
    def __init__(self, min_severity: int = 2) -> None: ...

    def log(self, severity: int, message: str) -> None: ...


class ITensor(_Only):
    def __init__(self, name: str, shape: list[int], dtype: Any) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype
        self.is_shape_tensor, self.is_execution_tensor = False, True


class ILayer(_Only):
    def __init__(self, name: str, kind: Any) -> None:
        self.name, self.type, self._precision = name, kind, None

    precision = property(
        lambda self: self._precision, lambda self, value: object.__setattr__(self, "_precision", value)
    )
    precision_is_set = property(lambda self: self._precision is not None)


class INetworkDefinition(_Only):
    def __init__(self, flags: int) -> None:
        self._flags, self._layers, self._ports, self._onnx = flags, [], ([], []), b""

    num_layers = property(lambda self: len(self._layers))
    num_inputs = property(lambda self: len(self._ports[0]))
    num_outputs = property(lambda self: len(self._ports[1]))

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]

    def get_input(self, index: int) -> ITensor:
        return self._ports[0][index]

    def get_output(self, index: int) -> ITensor:
        return self._ports[1][index]

    def get_flag(self, flag: int) -> bool:
        return bool(self._flags >> flag & 1)

    def __iter__(self) -> Any:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)


class OnnxParser(_Only):
    num_errors = 0

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network, self.flags = network, 0

    def clear_flag(self, flag: int) -> None: ...

    def parse(self, data: bytes) -> bool:
        import onnx

        graph = onnx.load_from_string(data).graph
        kinds = {"QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE"}
        self._network._layers = [
            ILayer(node.name, LayerType[kinds.get(node.op_type, "ELEMENTWISE")]) for node in graph.node
        ]
        self._network._ports = tuple(
            [
                ITensor(
                    port.name,
                    [d.dim_value for d in port.type.tensor_type.shape.dim],
                    DataType["FLOAT" if port.type.tensor_type.elem_type == 1 else "UINT8"],
                )
                for port in ports
            ]
            for ports in (graph.input, graph.output)
        )
        self._network._onnx = data
        return True


class IOptimizationProfile(_Only):
    def set_shape(self, name: str, low: Any, usual: Any, high: Any) -> None: ...

    def get_shape(self, name: str) -> list[Any]:
        return [[1], [1], [1]]


def _host_memory(data: bytes) -> Any:
    """As an IHostMemory hands out its bytes: a buffer of floats ('f'), not of bytes."""
    padded = data + b" " * (-len(data) % 4)
    return (ctypes.c_float * (len(padded) // 4)).from_buffer_copy(padded)


TIMINGS = b"timings of this device  "


class ITimingCache(_Only):
    def __init__(self, data: bytes = b"") -> None:
        self._data = data

    def combine(self, other: ITimingCache, ignore_mismatch: bool) -> bool:
        return True

    def serialize(self) -> Any:
        return _Buffer(TIMINGS)


class _Buffer(bytes):
    def __enter__(self) -> _Buffer:
        return self

    def __exit__(self, *_: object) -> None: ...


class IBuilderConfig(_Only):
    def __init__(self) -> None:
        self._set, self._calibrator, self._cache, self.profiling_verbosity = {"TF32"}, None, None, 0
        self.flags, self.DLA_core, self.num_optimization_profiles = 0, -1, 1

    int8_calibrator = property(
        lambda self: self._calibrator, lambda self, value: object.__setattr__(self, "_calibrator", value)
    )

    def set_flag(self, flag: Any) -> None:
        self._set.add(flag.name)

    def clear_flag(self, flag: Any) -> None:
        self._set.discard(flag.name)

    def get_flag(self, flag: Any) -> bool:
        return flag.name in self._set

    def add_optimization_profile(self, profile: Any) -> int:
        return 0

    def set_calibration_profile(self, profile: Any) -> bool:
        return True

    def create_timing_cache(self, data: bytes) -> ITimingCache:
        return ITimingCache(bytes(data))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._data not in (b"", TIMINGS) and not ignore_mismatch:  # of another device or release
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache:
        return self._cache


class Builder(_Only):
    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> Any:
        if problem := os.environ.get("FAKE_TENSORRT_FAILS"):
            for number in range(40_000):
                self._logger.log(ILogger.VERBOSE, f"Tactic 0x{number:016x} Time: 0.1")
            if hasattr(signal, problem):
                print("native code prints this", flush=True)
                os.kill(os.getpid(), getattr(signal, problem))
            self._logger.log(ILogger.ERROR, problem)
            return None
        if "FAKE_TENSORRT_LISTS" in os.environ:
            where = sys.modules["fdikp_edge.runtime.device.build"].__file__
            self._logger.log(ILogger.INFO, f"built by {where}")
        calibrator = config._calibrator
        note = {
            "version": __version__,
            "flags": sorted(config._set),
            "strong": bool(network._flags >> NetworkDefinitionCreationFlag.STRONGLY_TYPED & 1),
            "wide": [layer.name for layer in network if layer._precision is not None],
            "calibration": calibrator.read_calibration_cache().decode() if calibrator else "",
        }
        # The engine's bytes end with its file, whose end may not be changed, so the note is filled up.
        head = json.dumps(note).encode()
        return _host_memory(head + b" " * (-(len(head) + 1 + len(network._onnx)) % 4) + b"\n" + network._onnx)


class IExecutionContext(_Only):
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._places = engine, {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._places[name] = address
        return any(name == port.name for port in self._engine._ports)

    def execute_async_v3(self, stream: int) -> bool:
        def work() -> None:
            source, result = (self._array(port) for port in self._engine._ports)
            name = self._engine._ports[0].name
            result[...] = self._engine._session.run(None, {name: source})[0]

        enqueue(stream, work)
        return True

    def _array(self, port: Any) -> Any:
        size = int(np.prod(port.shape))
        kind = ctypes.c_ubyte if port.type == "tensor(uint8)" else ctypes.c_float
        return np.ctypeslib.as_array((kind * size).from_address(self._places[port.name])).reshape(port.shape)


class ICudaEngine(_Only):
    def __init__(self, data: bytes) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            data.partition(b"\n")[2], providers=["CPUExecutionProvider"]
        )
        self._ports = [*self._session.get_inputs(), *self._session.get_outputs()]

    num_io_tensors = 2
    device_memory_size = device_memory_size_v2 = 12_345_678

    def get_tensor_name(self, index: int) -> str:
        return self._ports[index].name

    def _port(self, name: str) -> Any:
        return next(port for port in self._ports if port.name == name)

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode.INPUT if self._ports[0].name == name else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> list[int]:
        return self._port(name).shape

    def get_tensor_dtype(self, name: str) -> Any:
        return DataType.UINT8 if self._port(name).type == "tensor(uint8)" else DataType.FLOAT

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self)


class Runtime(_Only):
    def __init__(self, logger: Any) -> None:
        self._logger, self.engine_host_code_allowed = logger, False

    def deserialize_cuda_engine(self, data: bytes) -> ICudaEngine | None:
        if not data.startswith(b'{"version": '):
            self._logger.log(ILogger.ERROR, "Magic tag does not match")
            return None
        return ICudaEngine(data)


def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
    return True


def nptype(dtype: Any) -> Any:
    return np.uint8 if dtype == DataType.UINT8 else np.float32


for _name, _members in _names.items():
    if _name not in globals():
        globals()[_name] = type(_name, (_Only,), dict.fromkeys(_members))
for _name in [
    n for n, v in globals().items() if isinstance(v, type) and issubclass(v, _Only) and n[0] != "_"
]:
    if _name not in _names:
        delattr(sys.modules[__name__], _name)
    else:  # what is recorded exists, whether anything here needs it or not
        _kind = globals()[_name]
        for _member in set(_names[_name]) - set(dir(_kind)):
            setattr(_kind, _member, None)
        for _member in [m for m in vars(_kind) if m[0] != "_" and m not in _names[_name]]:
            delattr(_kind, _member)
