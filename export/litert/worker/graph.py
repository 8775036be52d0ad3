"""A ``.tflite`` file as objects of LiteRT's own schema, with what it takes to change it."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_DTYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT32": np.int32, "INT8": np.int8}


class Graph:
    """The only graph of a file.

    Operators and tensors are those of ``ai_edge_litert.schema_py_generated``; a tensor is meant by its place.
    """

    def __init__(self, model: Any, schema: Any) -> None:
        """Hold a model of the schema's object interface."""
        self.model, self.schema = model, schema
        (self.graph,) = model.subgraphs
        (self.signature,) = model.signatureDefs
        codes = vars(schema.BuiltinOperator)
        self._kinds: dict[int, str] = {code: name for name, code in codes.items() if isinstance(code, int)}

    @classmethod
    def read(cls, data: bytes) -> "Graph":
        """Read a file that the converter wrote."""
        from ai_edge_litert import schema_py_generated as schema

        return cls(schema.ModelT.InitFromPackedBuf(data, 0), schema)

    @property
    def operators(self) -> list[Any]:
        """The operators, in order."""
        operators: list[Any] = self.graph.operators
        return operators

    def kind(self, operator: Any) -> str:
        """Return an operator's name in the schema."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return self._kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]

    def version(self, operator: Any) -> int:
        """Return the version of an operator's definition."""
        return int(self.model.operatorCodes[operator.opcodeIndex].version)

    def constant(self, place: int) -> Array | None:
        """Return the values of a stored tensor; ``None`` for one that is computed, or of another type."""
        if place < 0:
            return None
        tensor = self.graph.tensors[place]
        data = self.model.buffers[tensor.buffer].data
        for name, dtype in _DTYPES.items():
            if tensor.type == getattr(self.schema.TensorType, name) and data is not None and len(data):
                shape = [] if tensor.shape is None else [int(extent) for extent in tensor.shape]
                return np.frombuffer(bytes(data), dtype).reshape(shape)
        return None

    def step(self, place: int) -> float:
        """Return what one step of an 8-bit tensor is worth."""
        return float(self.graph.tensors[place].quantization.scale[0])

    def add_tensor(self, like: int, suffix: str, dtype: str, steps: Any = None, axis: int = 0) -> int:
        """Add a computed tensor with the name and shape of another, and return its place.

        Args:
            like: the other one.
            suffix: of its name.
            dtype: as the schema calls it.
            steps: what one step is worth, one number or one for each place along ``axis``.
            axis: of the steps.
        """
        model = self.graph.tensors[like]
        tensor = self.schema.TensorT()
        tensor.name = (model.name or b"tensor") + suffix.encode()
        tensor.shape, tensor.hasRank = model.shape, model.hasRank
        tensor.type = getattr(self.schema.TensorType, dtype)
        if steps is not None:
            values = np.atleast_1d(np.asarray(steps, np.float32))
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale = values
            tensor.quantization.zeroPoint = np.zeros(values.size, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def add_constant(self, like: int, suffix: str, values: Array, steps: Any = None, axis: int = 0) -> int:
        """Add a stored tensor with the name and shape of another, and return its place."""
        dtype = next(name for name, kind in _DTYPES.items() if kind == values.dtype)
        place = self.add_tensor(like, suffix, dtype, steps, axis)
        self.graph.tensors[place].buffer = self.add_buffer(values.tobytes())
        return place

    def add_buffer(self, content: bytes) -> int:
        """Store bytes, and return the place of their buffer."""
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def code(self, kind: str, version: int) -> int:
        """Return the number of a kind of operator in the file."""
        wanted = getattr(self.schema.BuiltinOperator, kind)
        for place, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted and code.version == version:
                return place
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.version = wanted, version
        code.deprecatedBuiltinCode = min(wanted, 127)
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def operator(self, kind: str, version: int, source: int, result: int) -> Any:
        """Return a QUANTIZE or DEQUANTIZE operator, which is not in the graph yet."""
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.code(kind, version)
        operator.inputs, operator.outputs = [source], [result]
        options = f"{kind.capitalize()}Options"
        operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        operator.builtinOptions = getattr(self.schema, f"{options}T")()
        return operator

    def makers(self) -> dict[int, Any]:
        """Return tensor -> the operator that makes it."""
        return {place: operator for operator in self.operators for place in operator.outputs}

    def readers(self) -> dict[int, list[Any]]:
        """Return tensor -> the operators that read it."""
        readers: dict[int, list[Any]] = {}
        for operator in self.operators:
            for place in dict.fromkeys(operator.inputs):
                readers.setdefault(int(place), []).append(operator)
        return readers

    def replace(self, old: int, new: int) -> None:
        """Let all operators that read a tensor read another."""
        for operator in self.operators:
            operator.inputs = [new if place == old else int(place) for place in operator.inputs]

    def tidy(self) -> None:
        """Order the operators by what they read, and drop what nothing reads."""
        makers, ordered, done = self.makers(), [], set[int]()
        needed: set[int] = set()
        stack = [makers[place] for place in self.graph.outputs if place in makers]
        while stack:
            operator = stack.pop()
            if id(operator) not in needed:
                needed.add(id(operator))
                stack += [makers[place] for place in operator.inputs if place in makers]
        for last in [one for one in self.operators if id(one) in needed]:
            stack = [last]
            while stack:
                operator = stack[-1]
                before = [makers[place] for place in operator.inputs if place in makers]
                waiting = [one for one in before if id(one) not in done]
                if waiting:
                    stack += waiting
                    continue
                stack.pop()
                if id(operator) not in done:
                    done.add(id(operator))
                    ordered.append(operator)
        self.graph.operators = ordered
        self._drop_tensors()
        self._drop_buffers()
        self._drop_codes()

    def _drop_tensors(self) -> None:
        used = {int(place) for one in self.operators for place in (*one.inputs, *one.outputs) if place >= 0}
        used |= {int(place) for place in (*self.graph.inputs, *self.graph.outputs)}
        places = {old: new for new, old in enumerate(sorted(used))}
        places[-1] = -1
        self.graph.tensors = [self.graph.tensors[old] for old in sorted(used)]
        self.graph.inputs = [places[int(place)] for place in self.graph.inputs]
        self.graph.outputs = [places[int(place)] for place in self.graph.outputs]
        for operator in self.operators:
            operator.inputs = [places[int(place)] for place in operator.inputs]
            operator.outputs = [places[int(place)] for place in operator.outputs]
        for end in (*self.signature.inputs, *self.signature.outputs):
            end.tensorIndex = places[int(end.tensorIndex)]

    def _drop_buffers(self) -> None:
        """Empty the buffers that nothing refers to any more."""
        read = {tensor.buffer for tensor in self.graph.tensors}
        read |= {entry.buffer for entry in self.model.metadata or []}
        for place, buffer in enumerate(self.model.buffers):
            if place not in read:
                buffer.data = None

    def _drop_codes(self) -> None:
        used = sorted({operator.opcodeIndex for operator in self.operators})
        places = {old: new for new, old in enumerate(used)}
        self.model.operatorCodes = [self.model.operatorCodes[old] for old in used]
        for operator in self.operators:
            operator.opcodeIndex = places[operator.opcodeIndex]
