"""Converts one program with litert-torch: ``python worker.py FOLDER``, in the environment that has it.

:mod:`.build` writes ``program.pt2`` and ``request.json`` into a folder, runs this file with the interpreter
of the environment of ``fdikp-edge setup litert``, and reads ``model.tflite`` and ``answer.json``. That
environment does not have this project, so nothing of it is imported here.
"""

import json
import sys
import traceback
from pathlib import Path
from typing import Any

REQUEST, ANSWER, PROGRAM, MODEL = "request.json", "answer.json", "program.pt2", "model.tflite"
HALF_LEAST, HALF_MOST = 64, 65504.0
"""Constants of fewer values stay in float32, and those with larger values."""


def main(folder: Path) -> int:
    """Convert the program in ``folder``, and write what came of it there."""
    answer: dict[str, Any] = {"problem": "", "halved": 0, "versions": {}}
    try:
        request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        answer["versions"] = _versions()
        data = convert(folder / PROGRAM, quantised=request["quantised"], wide=request["wide"])
        data, answer["halved"] = finish(data, request)
        (folder / MODEL).write_bytes(data)
    except MemoryError:
        answer["problem"] = "out of memory"
    except Exception as error:  # converters raise errors of many kinds
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
        answer["problem"] = f"{type(error).__name__}: {lines[0]}"
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if answer["problem"] else 0


def convert(path: Path, *, quantised: bool, wide: bool) -> bytes:
    """Return the bytes of the converted file.

    Args:
        path: the program.
        quantised: whether it holds pairs of quantise and dequantise operators.
        wide: keep integers of 64 bits, which inputs or outputs have.
    """
    import torch
    import torch.ao.quantization.fx._decomposed  # registers the operators of quantised programs

    program = torch.export.load(path)
    inputs = program.example_inputs[0]

    class Flat(torch.nn.Module):
        """The program, with its results as a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.program = program.module()

        def forward(self, *arguments: Any) -> Any:
            return tuple(torch.utils._pytree.tree_leaves(self.program(*arguments)))

    import litert_torch

    config = None
    if quantised:
        from litert_torch.quantize import pt2e_quantizer, quant_config

        static = pt2e_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        config = quant_config.QuantConfig(pt2e_quantizer=pt2e_quantizer.PT2EQuantizer().set_global(static))
    flat = Flat()
    flat.training = False
    converted = litert_torch.convert(flat, inputs, quant_config=config, enable_x64=wide)
    return bytes(converted.model_content())


def finish(data: bytes, request: dict[str, Any]) -> tuple[bytes, int]:
    """Return the file with the names and facts of ``request``, and how many constants became float16."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (signature,), (graph,) = model.signatureDefs, model.subgraphs
    signature.signatureKey = request["signature"].encode()
    for ends, names in ((signature.inputs, request["inputs"]), (signature.outputs, request["outputs"])):
        if len(ends) != len(names):
            raise ValueError(f"{len(ends)} inputs or outputs were left of {len(names)}")
        for end in ends:
            # litert-torch calls them args_0, args_1 and output_0, output_1.
            end.name = names[int(end.name.decode().rpartition("_")[2])].encode()
            graph.tensors[end.tensorIndex].name = end.name  # what tools show that know no signatures
    model.description = request["description"].encode()
    halved = _halve(model, schema) if request["half"] else 0
    for name, text in request["metadata"].items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name.encode(), len(model.buffers)
        model.buffers.append(_buffer(schema, text.encode()))
        model.metadata = [*(model.metadata or []), entry]

    def pack(self: Any, builder: Any) -> Any:
        # As in schema.fbs: the bytes of a buffer start at a multiple of 16.
        vector = None
        if self.data is not None and len(self.data):
            content = bytes(self.data)
            builder.Prep(16, len(content))
            vector = builder.CreateByteVector(content)
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)

    schema.BufferT.Pack = pack
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), halved


def _buffer(schema: Any, content: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = content
    return buffer


def _halve(model: Any, schema: Any) -> int:
    """Store constants in float16, each with an operator behind it that LiteRT runs once, when it loads."""
    import numpy as np

    (graph,) = model.subgraphs
    model.operatorCodes.append(schema.OperatorCodeT())
    model.operatorCodes[-1].builtinCode = schema.BuiltinOperator.DEQUANTIZE
    model.operatorCodes[-1].deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    model.operatorCodes[-1].version = 2
    behind = []
    for place, tensor in enumerate(list(graph.tensors)):
        stored = model.buffers[tensor.buffer].data
        if tensor.type != schema.TensorType.FLOAT32 or stored is None or not len(stored):
            continue
        values = np.frombuffer(bytes(stored), np.float32)
        if values.size < HALF_LEAST or not np.abs(values).max() <= HALF_MOST:
            continue
        small = schema.TensorT()
        small.name, small.shape, small.hasRank = tensor.name + b"_float16", tensor.shape, tensor.hasRank
        small.type, small.buffer = schema.TensorType.FLOAT16, len(model.buffers)
        model.buffers.append(_buffer(schema, values.astype(np.float16).tobytes()))
        graph.tensors.append(small)
        tensor.buffer = 0
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = [len(graph.tensors) - 1], [place]
        operator.builtinOptionsType = schema.BuiltinOptions.DequantizeOptions
        operator.builtinOptions = schema.DequantizeOptionsT()
        behind.append(operator)
    graph.operators = [*behind, *graph.operators]
    _drop_unread(model, graph)
    return len(behind)


def _drop_unread(model: Any, graph: Any) -> None:
    """Empty the buffers that nothing refers to any more."""
    read = {tensor.buffer for tensor in graph.tensors} | {entry.buffer for entry in model.metadata or []}
    for place, buffer in enumerate(model.buffers):
        if place not in read:
            buffer.data = None


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("litert-torch", "litert-converter", "ai-edge-litert", "torch")}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
