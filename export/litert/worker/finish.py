"""Gives a converted file its names, facts and precision, and writes it."""

from typing import Any

from .chains import join
from .eight_bits import write_layers
from .graph import Graph
from .half import halve


def finish(graph: Graph, request: dict[str, Any], biases: dict[int, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return the file as ``request`` wants it, and what became of its precision.

    That is how many constants are float16, and which layers stay in floats.

    Args:
        graph: the converted program.
        request: names, metadata and precision.
        biases: of the layers that shall compute in 8 bits, by their place in the request.
    """
    signature, model = graph.signature, graph.model
    signature.signatureKey = request["signature"].encode()
    for ends, names in ((signature.inputs, request["inputs"]), (signature.outputs, request["outputs"])):
        if len(ends) != len(names):
            raise ValueError(f"{len(ends)} inputs or outputs were left of {len(names)}")
        for end in ends:
            # litert-torch calls them args_0, args_1 and output_0, output_1.
            end.name = names[int(end.name.decode().rpartition("_")[2])].encode()
            graph.graph.tensors[end.tensorIndex].name = end.name  # what tools show that know no signatures
    model.description = request["description"].encode()
    floats: list[int] = []
    if request["layers"]:
        floats = write_layers(graph, request["layers"], biases)
        join(graph)
    halved = halve(graph) if request["half"] else 0
    if request["layers"] or halved:
        graph.tidy()
    for name, text in request["metadata"].items():
        entry = graph.schema.MetadataT()
        entry.name, entry.buffer = name.encode(), graph.add_buffer(text.encode())
        model.metadata = [*(model.metadata or []), entry]
    return _pack(graph), {"halved": halved, "floats": floats}


def _pack(graph: Graph) -> bytes:
    import flatbuffers

    schema: Any = graph.schema

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
    builder = flatbuffers.Builder(1024**2)
    builder.Finish(graph.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
