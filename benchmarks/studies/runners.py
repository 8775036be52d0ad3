"""Models for side-by-side timing: runtimes on ONNX bytes, with the options that sessions use."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.photo import Array

Inputs = tuple[Array, ...]
"""The inputs of a model in their order."""

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""What ``--clock`` counts: time on the wall, or the processor time of this process, threads added up."""

REST = 0.05
"""Seconds in which the idle threads of ONNX Runtime, OpenMP and TBB all stop spinning and go to sleep."""


@dataclass(frozen=True)
class TimedModel:
    """``run`` maps inputs to the first output; ``profile`` says where its time goes, if the runtime can."""

    run: Callable[[Inputs], Array]
    profile: Callable[[Inputs], dict[str, float]] | None = None


def rested(calls: Mapping[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    """Return the calls such that each one first rests when another one was called before it.

    Runtimes in one process share its cores, and the threads of one go on spinning for many milliseconds after
    its last call. Without a rest a call of a few milliseconds is timed against them: on a busy machine the
    median came out three times the fastest call, later with rests within a fifth of it. Whoever times these
    calls should leave the first call of a turn out, as
    :func:`~fdikp_edge.benchmarks.timing.latency.measure_side_by_side` does.
    """
    latest = ""

    def rest_before(name: str, call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            nonlocal latest
            if latest != name:
                latest = name
                time.sleep(REST)
            return call()

        return run

    return {name: rest_before(name, call) for name, call in calls.items()}


def in_onnxruntime(model: bytes, threads: int, scratch: Path) -> TimedModel:
    """Return an ONNX model in ONNX Runtime on the CPU; ``scratch`` is a folder."""
    import onnxruntime as ort

    def open_it(prefix: str = "") -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if prefix:
            options.enable_profiling = True
            options.profile_file_prefix = prefix
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    session = open_it()
    names = [port.name for port in session.get_inputs()]

    def run(inputs: Inputs) -> Array:
        result: Array = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        return result

    def profile(inputs: Inputs) -> dict[str, float]:
        import json

        watched = open_it(str(scratch / "profile"))
        runs = 5
        feeds = dict(zip(names, inputs, strict=True))
        watched.run(None, feeds)
        for _ in range(runs):
            watched.run(None, feeds)
        events = json.loads(Path(watched.end_profiling()).read_text(encoding="utf-8"))
        kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
        kernels = kernels[len(kernels) // (runs + 1) :]  # without the first run
        spent: Counter[str] = Counter()
        for event in kernels:
            spent[event["args"]["op_name"]] += event["dur"] / 1e3 / runs
        return _sorted(spent)

    return TimedModel(run, profile)


def in_openvino(model: bytes, threads: int) -> TimedModel:
    """Return an ONNX model in OpenVINO on the CPU, converted as the target does."""
    import openvino as ov

    from ...export.openvino.build import convert

    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    converted = convert(model)

    def open_it(**more: object) -> Any:
        return ov.Core().compile_model(converted, "CPU", {**config, **more}).create_infer_request()

    request = open_it()

    def run(inputs: Inputs) -> Array:
        result: Array = request.infer(list(inputs), share_inputs=True, share_outputs=False)[0]
        return result

    def profile(inputs: Inputs) -> dict[str, float]:
        watched = open_it(PERF_COUNT=True)
        watched.infer(list(inputs))
        runs = 5
        spent: Counter[str] = Counter()
        for _ in range(runs):
            watched.infer(list(inputs))
            for entry in watched.get_profiling_info():
                spent[f"{entry.node_type} ({entry.exec_type})"] += (
                    entry.real_time.total_seconds() * 1e3 / runs
                )
        return _sorted(spent)

    return TimedModel(run, profile)


def matrix_rate(
    threads: int, scratch: Path, size: int = 1024, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the multiply-adds per second, in 10^9, of a float32 product of two ``size`` x ``size`` matrices.

    The right-hand one is a constant, as weights are. The best of 30 products of each: this is a limit, so
    what else the machine did meanwhile should not count.
    """
    import torch

    from ..timing.latency import measure_side_by_side

    left = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    model = _product(np.random.default_rng(1).standard_normal((size, size), dtype=np.float32))
    a = torch.from_numpy(left)
    b = torch.from_numpy(np.random.default_rng(1).standard_normal((size, size), dtype=np.float32))
    onnx, openvino = in_onnxruntime(model, threads, scratch), in_openvino(model, threads)
    products = {
        "torch": lambda: a @ b,
        "onnx": lambda: onnx.run((left,)),
        "openvino": lambda: openvino.run((left,)),
    }
    times = measure_side_by_side(rested(products), min_samples=30, max_seconds=5.0, clock=clock)
    return {name: size**3 / (latency.min * 1e-3) / 1e9 for name, latency in times.items()}


def multiply_adds(program: Any, examples: Sequence[Any]) -> int:
    """Count the multiply-adds of a program's convolutions and matrix products, by running it once."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        program.module()(*examples)
    return int(counter.get_total_flops()) // 2


def _product(right: Array) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size = right.shape[0]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "product",
        ports[:1],
        ports[1:],
        [numpy_helper.from_array(right, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def _sorted(spent: Counter[str]) -> dict[str, float]:
    return {name: round(ms, 3) for name, ms in spent.most_common() if ms >= 0.0005}
