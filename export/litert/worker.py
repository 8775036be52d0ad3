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
        data, request["twins"] = convert(
            folder / PROGRAM, quantised=request["quantised"], wide=request["wide"]
        )
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


def convert(path: Path, *, quantised: bool, wide: bool) -> tuple[bytes, list[int]]:
    """Return the bytes of the converted file, and which inputs it has twice (:func:`split_inputs`).

    Args:
        path: the program.
        quantised: whether it holds pairs of quantise and dequantise operators.
        wide: keep integers of 64 bits, which inputs or outputs have.
    """
    import torch
    import torch.ao.quantization.fx._decomposed  # registers the operators of quantised programs

    program = torch.export.load(path)
    inputs = program.example_inputs[0]
    module = program.module()
    twins = split_inputs(module) if quantised else []
    inputs = (*inputs, *(inputs[place].clone() for place in twins))  # the same one twice is taken for one

    class Flat(torch.nn.Module):
        """The program, with its results as a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.program = module

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
    return bytes(converted.model_content()), twins


def split_inputs(module: Any) -> list[int]:
    """Let quantised layers read an input through a second one, and return which inputs have a second.

    The converter turns an input that is rounded into one of 8 bits, for its other readers too. :func:`finish`
    joins the two again.
    """
    import torch

    graph, twins = module.graph, list[int]()
    rounds = torch.ops.quantized_decomposed.quantize_per_tensor.default
    for node in [node for node in graph.nodes if node.op == "call_module" and not node.users]:
        graph.erase_node(node)  # checks of the inputs' shapes
    ends = [node for node in graph.nodes if node.op == "placeholder"]
    last = ends[-1]
    for place, node in enumerate(ends):
        rounding = [user for user in node.users if user.target == rounds]
        if not rounding or len(rounding) == len(node.users):
            continue
        with graph.inserting_after(last):
            last = graph.placeholder(f"{node.name}_rounded")
        for user in rounding:
            user.replace_input_with(node, last)
        twins.append(place)
    module._forward_pre_hooks.clear()  # which count the inputs
    graph.set_codegen(torch.fx.graph.CodeGen())
    module.recompile()
    return twins


def finish(data: bytes, request: dict[str, Any]) -> tuple[bytes, int]:
    """Return the file with the names and facts of ``request``, and how many constants became float16."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (signature,), (graph,) = model.signatureDefs, model.subgraphs
    signature.signatureKey = request["signature"].encode()
    if request["quantised"]:
        _join_inputs(model, schema, len(request["inputs"]), request["twins"])
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


def _join_inputs(model: Any, schema: Any, count: int, twins: list[int]) -> None:
    """Let every input be float32: what the converter made 8 bits is rounded by an operator behind it."""
    (signature,), (graph,) = model.signatureDefs, model.subgraphs
    ends = {int(end.name.decode().rpartition("_")[2]): end for end in signature.inputs}
    rounding = []
    for place, end in sorted(ends.items()):
        tensor = graph.tensors[end.tensorIndex]
        if place < count and tensor.type != schema.TensorType.INT8:
            continue
        if place < count:
            wide = schema.TensorT()
            wide.name, wide.shape, wide.hasRank = tensor.name + b"_float32", tensor.shape, tensor.hasRank
            wide.type, wide.buffer = schema.TensorType.FLOAT32, 0
            graph.tensors.append(wide)
            source, narrow = len(graph.tensors) - 1, end.tensorIndex
            graph.inputs = [source if index == narrow else index for index in graph.inputs]
            end.tensorIndex = source
        else:
            source, narrow = ends[twins[place - count]].tensorIndex, end.tensorIndex
            graph.inputs = [index for index in graph.inputs if index != narrow]
            signature.inputs.remove(end)
        if tensor.type == schema.TensorType.INT8:
            options = ("QuantizeOptions", schema.QuantizeOptionsT())
            code = _operator_code(model, schema, schema.BuiltinOperator.QUANTIZE, 1)
            rounding.append(_operator(schema, code, source, narrow, options))
        else:  # the converter did not
            for operator in graph.operators:
                operator.inputs = [source if index == narrow else index for index in operator.inputs]
    graph.operators = [*rounding, *graph.operators]


def _operator_code(model: Any, schema: Any, kind: int, version: int) -> int:
    """Add a kind of operator, and return its number."""
    model.operatorCodes.append(schema.OperatorCodeT())
    code = model.operatorCodes[-1]
    code.builtinCode = code.deprecatedBuiltinCode = kind
    code.version = version
    return len(model.operatorCodes) - 1


def _operator(schema: Any, code: int, source: int, result: int, options: tuple[str, Any]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [source], [result]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, options[0])
    operator.builtinOptions = options[1]
    return operator


def _buffer(schema: Any, content: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = content
    return buffer


def _halve(model: Any, schema: Any) -> int:
    """Store constants in float16, each with an operator behind it that LiteRT runs once, when it loads."""
    import numpy as np

    (graph,) = model.subgraphs
    code = _operator_code(model, schema, schema.BuiltinOperator.DEQUANTIZE, 2)
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
        options = ("DequantizeOptions", schema.DequantizeOptionsT())
        behind.append(_operator(schema, code, len(graph.tensors) - 1, place, options))
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
