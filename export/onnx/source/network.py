"""An ONNX file as a network source, so that ``deploy`` and its companions go on from it.

The original file runs as the reference, in ONNX Runtime in float32, and, where it is small, in ONNX's
reference evaluator in float64. In the place of a lowered program stands the plain file; targets that need the
program itself say that they cannot be built from ONNX.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ....models.sources.base import NetworkSource, TensorSpec
from ....runtime.errors import BadInputError, LoweringFaultError, SourceError
from .ports import Port, identifier_names
from .program import OnnxProgram, prepare
from .source import OnnxSource, load_onnx_source

if TYPE_CHECKING:
    from ....models.sources.base import Samples

AS_PICTURE = "input {name} is taken as an RGB picture, 0 to 1; declare it as another tensor if it is none"
_RANGES: dict[str, tuple[float, float] | None] = {"uint8": (0.0, 255.0), "bool": None}


class OnnxNetwork(nn.Module):
    """The original file as a module: it takes and returns tensors in the order of the file.

    Its only buffer is the file's SHA-256, so that its weights are known by it.
    """

    def __init__(self, source: OnnxSource) -> None:
        """Take a file that was read."""
        super().__init__()
        self.source = source
        digest = torch.tensor(list(bytes.fromhex(source.sha256)), dtype=torch.uint8)
        self.register_buffer("file_sha256", digest)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the original once; in float64 if an input is."""
        wide = any(value.dtype == torch.float64 for value in inputs)
        feeds = {
            port.name: value.detach().numpy() for port, value in zip(self.source.inputs, inputs, strict=True)
        }
        results = self.source.reference(feeds, "float64" if wide else "float32")
        return tuple(torch.from_numpy(results[port.name].copy()) for port in self.source.outputs)

    @property
    def parameter_count(self) -> int:
        """Numbers stored as floats in the original."""
        from onnx import TensorProto

        floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
        tensors = [tensor for tensor in self.source.original.graph.initializer if tensor.data_type in floats]
        return sum(functools.reduce(lambda count, size: count * size, tensor.dims, 1) for tensor in tensors)


def onnx_network(
    path: str | Path,
    *,
    inputs: Sequence[TensorSpec] = (),
    samples: Samples | None = None,
    name: str | None = None,
) -> NetworkSource:
    """Return an ONNX file as a network source.

    Args:
        path: a file of untrusted origin.
        inputs: what its inputs are, by name: sizes that the file leaves open, ranges, pictures. An input
            whose name is no identifier goes by :func:`.ports.identifier_names`. Where nothing is declared,
            the file decides; a network of one float32 input [1, 3, H, W] then takes RGB pictures, 0 to 1.
        samples: real inputs to verify and calibrate with.
        name: what artifacts call it; the file's name when ``None``.

    Raises:
        BadInputError: an unreadable file, an input that it does not have, or sizes that do not fit or are
            missing.
        LoweringError: a transform that cannot be rewritten; names the node.
    """
    declared = {spec.name: spec for spec in inputs}
    source = load_onnx_source(path, _sizes(Path(path), declared))
    names = identifier_names(source.inputs, source.outputs)
    specs, notes = [], []
    for port in source.inputs:
        known = names[port.name]
        spec = declared.pop(known, None) or _spec(port, known, alone=len(source.inputs) == 1)
        if spec.dtype != port.dtype:
            raise SourceError(f"{path}: input {port.text} was declared as {spec.dtype}")
        if known not in {entry.name for entry in inputs} and spec.is_picture:
            notes.append(AS_PICTURE.format(name=known))
        specs.append(spec)
    if declared:
        listed = ", ".join(names[port.name] for port in source.inputs)
        raise SourceError(f"{path}: has no input {next(iter(declared))!r:.80}; its inputs: {listed}")
    network = OnnxNetwork(source).eval()
    return NetworkSource(
        name=name or source.name,
        spec=str(path),
        load=lambda: network,
        inputs=tuple(specs),
        outputs=tuple(names[port.name] for port in source.outputs),
        samples=samples,
        notes=tuple(notes),
    )


def lower_onnx(network: OnnxNetwork, profile: str) -> OnnxProgram:
    """Return the plain file in the place of a lowered program, checked against the original.

    Raises:
        LoweringError: see :func:`.program.prepare`.
        LoweringFaultError: the plain file computes something else than the original.
    """
    source = network.source
    check = source.check()
    if check.state == "failed":
        raise LoweringFaultError(f"{source.path}: the rewritten file {check.reason}")
    program = prepare(source, profile)
    notes = [f"not compared with the original: {check.reason}"] if check.state == "unverified" else []
    worst = max(check.errors.values(), default=None)
    return dataclasses.replace(program, self_check=worst, notes=(*program.notes, *notes))


def _sizes(path: Path, declared: dict[str, TensorSpec]) -> dict[str, tuple[int, ...]]:
    """Return the sizes that were declared, by the names of the file."""
    if not declared:
        return {}
    plain = load_ports(path)
    names = identifier_names(plain, ())
    sizes: dict[str, tuple[int, ...]] = {}
    for port in plain:
        spec = declared.get(names[port.name])
        if spec is None:
            continue
        if None in spec.shape:
            raise SourceError(f"--input {spec.name}: an ONNX file needs every size, height and width too")
        sizes[port.name] = tuple(side for side in spec.shape if side is not None)
    return sizes


def load_ports(path: Path) -> tuple[Port, ...]:
    """Return the inputs of a file, read as :func:`.source.load_onnx_source` reads it; its errors too."""
    from .ports import inputs_of
    from .read import read_model

    model, _ = read_model(path)
    try:
        return inputs_of(model)
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error


def _spec(port: Port, name: str, *, alone: bool) -> TensorSpec:
    if None in port.shape:
        raise SourceError(
            f"input {port.text} has open sizes; give them all, such as --input {name}="
            + "x".join("1" if size is None else str(size) for size in port.shape)
        )
    shape: Any = port.shape
    picture = alone and port.dtype == "float32" and len(shape) == 4 and shape[:2] == (1, 3)
    try:
        return TensorSpec(
            name,
            shape,
            port.dtype,
            _RANGES.get(port.dtype, (0.0, 1.0)),
            "NCHW" if picture else None,
            "RGB" if picture else "",
        )
    except SourceError as error:
        raise SourceError(f"input {port.text}: {error}") from error
