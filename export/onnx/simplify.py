"""Simplify an exported model with onnxsim, and keep the result only where it is valid, small and equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def simplified(model: onnx.ModelProto, notes: list[str], *, fold_weights: bool) -> onnx.ModelProto:
    """Return onnxsim's version of the model if that is worth having; else say why not in ``notes``."""
    if model.functions:
        return model  # a simplifier would put the bodies in place of what a runtime may have kernels for
    try:
        import onnxsim
    except ImportError:
        notes.append("onnxsim is not installed: the file was not simplified")
        return model
    try:
        if fold_weights:
            simpler, _ = onnxsim.simplify(model, check_n=0)
        else:
            # First fold what depends on stored tensors alone (a slice of a weight); then keep the weights.
            settled, _ = onnxsim.simplify(model, check_n=0, perform_optimization=False)
            simpler, _ = onnxsim.simplify(settled, check_n=0, initializers_as_constants=False)
    except Exception as error:
        notes.append(
            f"onnxsim failed and was not used: {type(error).__name__}: {str(error).splitlines()[:1]}"
        )
        return model
    if problem := harm(model, simpler):
        notes.append(f"onnxsim was not used: {problem}")
        return model
    result: onnx.ModelProto = simpler
    return result


def harm(before: onnx.ModelProto, after: onnx.ModelProto) -> str | None:
    """Say how a simplified model is worse, or ``None``."""
    import onnx

    try:
        onnx.checker.check_model(after, full_check=True)
    except Exception as error:
        return f"its result is not valid ONNX ({str(error).splitlines()[0]})"
    if len(after.graph.node) > len(before.graph.node):
        return f"it made {len(after.graph.node)} nodes out of {len(before.graph.node)}"
    if after.ByteSize() > 1.1 * before.ByteSize() + 2**20:
        return f"it made {after.ByteSize() / 1e6:.0f} MB out of {before.ByteSize() / 1e6:.0f} MB"
    worst = _difference(before, after)
    return None if worst <= 1e-5 else f"it changed the result by {worst:.1e} of its range"


def _difference(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    """Run both models once on noise: largest difference, relative to the largest value."""
    import numpy as np
    import onnxruntime as ort

    def run(model: onnx.ModelProto) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        feeds = {port.name: _noise(rng.random(port.shape), port.type) for port in session.get_inputs()}
        return [result.astype(np.float64) for result in session.run(None, feeds)]

    differences = []
    for port, expected, actual in zip(after.graph.output, run(before), run(after), strict=True):
        # One step of a byte is rounding's business.
        slack = 1.0 if port.type.tensor_type.elem_type == 2 else 0.0
        with np.errstate(invalid="ignore"):  # a network may be broken; that is for the parity check to say
            worst = np.abs(actual - expected).max(initial=0.0)
        differences.append(float(max(worst - slack, 0.0) / max(np.abs(expected).max(initial=0.0), 1e-30)))
    return max(differences)


def _noise(noise: Any, kind: str) -> Any:
    """Noise from 0 to 1 as an input of ONNX Runtime's type ``kind``."""
    import numpy as np

    scaled = noise * 255 if kind == "tensor(uint8)" else noise
    types = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    return noise < 0.5 if kind == "tensor(bool)" else scaled.astype(types.get(kind, np.float32))
