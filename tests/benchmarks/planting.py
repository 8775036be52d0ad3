"""Faults planted into built artifacts: the model's file is edited, and the artifact hashed anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.mil import Package
from fdikp_edge.runtime.mil.program import Stored
from torch import Tensor, nn


class FourierBlock(nn.Module):
    """A convolution with a normalisation, and a mixing of channels in the frequency domain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.norm(self.conv(x)))
        spectrum = torch.fft.rfft2(f, norm="ortho")
        re, im = self.mix(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        return x + torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm="ortho")


class Deep(nn.Module):
    """Enough modules for a search to be worth it; all of them matter to the result."""

    def __init__(self, channels: int = 16, blocks: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, channels, 3, padding=1)
            self.body = nn.ModuleList([FourierBlock(channels) for _ in range(blocks)])
            self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.head(x)
        for block in self.body:
            f = block(f)
        result: Tensor = x + 0.25 * self.tail(f)
        return result


def plant(artifact: Artifact, dest: Path, edit: Callable[[Path], None]) -> Artifact:
    """Copy an artifact, let ``edit`` change the copy's model (a path), and hash it anew."""
    with ArtifactWriter(dest) as writer:
        shutil.copytree(artifact.path, writer.folder, dirs_exist_ok=True)
        (writer.folder / "passport.json").unlink()
        edit(writer.folder / artifact.passport.model_file)
        return writer.commit(artifact.passport)


def swap_kernel_axes(weight: Any) -> Any:
    return np.ascontiguousarray(weight.swapaxes(-1, -2))


def scale(factor: float) -> Callable[[Any], Any]:
    """Multiply, within what the type holds."""

    def change(weight: Any) -> Any:
        limit = 6e4 if weight.dtype == np.float16 else np.inf
        return np.clip(weight.astype(np.float64) * factor, -limit, limit).astype(weight.dtype)

    return change


def onnx_weight(module: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change the stored weights of the first convolution that came from a module."""

    def edit(path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(path)
        node = _onnx_node(model, module, "Conv")
        tensor = next(t for t in model.graph.initializer if t.name == node.input[1])
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
        onnx.save(model, path)

    return edit


def onnx_turned(module: str, kind: str) -> Callable[[Path], None]:
    """Swap height and width of what the first node of a kind makes in a module (both are of one size)."""

    def edit(path: Path) -> None:
        import onnx

        model = onnx.load(path)
        node = _onnx_node(model, module, kind)
        place = list(model.graph.node).index(node)
        name, inner = node.output[0], node.output[0] + "_before"
        turn = onnx.helper.make_node("Transpose", [inner], [name], perm=[0, 1, 3, 2])
        turn.metadata_props.extend(node.metadata_props)
        node.output[0] = inner
        model.graph.node.insert(place + 1, turn)
        onnx.save(model, path)

    return edit


def onnx_range(module: str, factor: float) -> Callable[[Path], None]:
    """Change the step in which the input of a module's convolution is rounded to 8 bits."""

    def edit(path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(path)
        read = _onnx_node(model, module, "Conv").input[0]
        makers = {node.output[0]: node for node in model.graph.node}
        steps = {t.name: t for t in model.graph.initializer}
        tensor = steps[makers[read].input[1]]
        narrow = (numpy_helper.to_array(tensor) * factor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))
        onnx.save(model, path)

    return edit


def openvino_weight(node: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change the constant that the convolution of a node of the program reads."""

    def edit(path: Path) -> None:
        from openvino import opset13

        def work(model: Any) -> None:
            read = _openvino_convolution(model, node).input(1)
            while read.get_source_output().get_node().get_type_name() != "Constant":
                read = read.get_source_output().get_node().input(0)
            old = read.get_source_output().get_node()
            read.replace_source_output(opset13.constant(change(old.data.copy())).output(0))

        _openvino_edit(path, work)

    return edit


def openvino_range(node: str, factor: float) -> Callable[[Path], None]:
    """Narrow the range to which the input of a node's convolution is rounded."""

    def edit(path: Path) -> None:
        from openvino import opset13

        def work(model: Any) -> None:
            rounding = _openvino_convolution(model, node).input_value(0).get_node()
            assert rounding.get_type_name() == "FakeQuantize"
            for place in (1, 2, 3, 4):
                old = rounding.input_value(place).get_node().data
                rounding.input(place).replace_source_output(opset13.constant(old * factor).output(0))

        _openvino_edit(path, work)

    return edit


def coreml_weight(
    node: str, change: Callable[[Any], Any], argument: str = "weight"
) -> Callable[[Path], None]:
    """Change, in the weight file, the stored weights (or their scales) of a node's convolution."""

    def edit(path: Path) -> None:
        package = Package.open(path)
        producers = {op.outputs[0][0]: op for op in package.program.operations if op.outputs}
        conv = next(op for name, op in producers.items() if op.type == "conv" and name.startswith(node))
        source = producers[str(conv.inputs["weight"][0])]
        value = source.attributes["val"] if argument == "weight" else source.attributes[argument]
        array = package.array(value)
        assert isinstance(value.content, Stored) and not isinstance(array, str)
        package.close()
        file = path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
        data = bytearray(file.read_bytes())
        start = int.from_bytes(data[value.content.offset + 16 : value.content.offset + 24], "little")
        changed = np.ascontiguousarray(change(array)).astype(array.dtype).tobytes()
        data[start : start + len(changed)] = changed
        file.write_bytes(data)

    return edit


def _onnx_node(model: Any, module: str, kind: str) -> Any:
    for node in model.graph.node:
        if node.op_type == kind and any(p.key == "module" and p.value == module for p in node.metadata_props):
            return node
    raise AssertionError(f"no {kind} in {module}")


def _openvino_convolution(model: Any, node: str) -> Any:
    names = (f"node_{node}", f"node_{node}/WithoutBiases")
    return next(
        op
        for op in model.get_ops()
        if op.get_friendly_name() in names and op.get_type_name() == "Convolution"
    )


def _openvino_edit(path: Path, work: Callable[[Any], None]) -> None:
    import openvino

    model = openvino.Core().read_model(path)
    work(model)
    edited = path.with_name("edited.xml")
    openvino.save_model(model, edited, compress_to_fp16=False)
    del model
    for suffix in (".xml", ".bin"):
        edited.with_suffix(suffix).replace(path.with_suffix(suffix))
