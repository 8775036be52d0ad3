"""Inputs and outputs of an ONNX model, and how the sizes that a file leaves open are fixed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.errors import BadInputError

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]

OPEN_SIZE = 2
"""What a size that the file leaves open (a batch, most often) is while the rewriting is checked."""
MOST_ELEMENTS = 2**28
"""Elements of an input that is made here."""


@dataclass(frozen=True)
class Port:
    """An input or output: name, sizes (``None``: left open), and NumPy's name of its element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    @property
    def text(self) -> str:
        """One line: ``x: float32 1x3x?x?``."""
        sizes = "x".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype} {sizes or 'scalar'}"


def inputs_of(model: onnx.ModelProto) -> tuple[Port, ...]:
    """Return what a caller must feed: inputs without those that have a value in the file.

    Raises:
        BadInputError: one is no tensor.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    return tuple(_port(port) for port in model.graph.input if port.name not in stored)


def outputs_of(model: onnx.ModelProto) -> tuple[Port, ...]:
    """Return what comes out.

    Raises:
        BadInputError: one is no tensor.
    """
    return tuple(_port(port) for port in model.graph.output)


def fix_sizes(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Set the sizes of inputs in place, and let those of all other values follow from them.

    Raises:
        BadInputError: no such input, another number of dimensions, or a size that the file sets otherwise.
    """
    if not sizes:
        return
    known = {port.name: port for port in inputs_of(model)}
    for name, shape in sizes.items():
        if name not in known:
            raise BadInputError(f"the network has no input {name!r:.80}; its inputs: {', '.join(known)}")
        port = known[name]
        fits = len(shape) == len(port.shape) and all(
            size >= 1 and own in (None, size) for size, own in zip(shape, port.shape, strict=True)
        )
        if not fits:
            raise BadInputError(f"{'x'.join(map(str, shape))} does not fit the input {port.text}")
    for entry in model.graph.input:
        if entry.name in sizes:
            for dim, size in zip(entry.type.tensor_type.shape.dim, sizes[entry.name], strict=True):
                dim.dim_value = size
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if dim.WhichOneof("value") != "dim_value":
                dim.Clear()


def noise(ports: tuple[Port, ...], seed: int = 0) -> dict[str, Array]:
    """Return an input for each port, the same every time: 0 to 1 in floats, 0 to 255 in bytes, else 0 and 1.

    Raises:
        BadInputError: an input too large to be made.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for port in ports:
        shape = tuple(OPEN_SIZE if size is None else size for size in port.shape)
        if int(np.prod([float(size) for size in shape])) > MOST_ELEMENTS:
            raise BadInputError(f"input {port.text} has more than {MOST_ELEMENTS} values")
        if port.dtype.startswith(("float", "bfloat")):
            feeds[port.name] = np.asarray(rng.random(shape)).astype(port.dtype)
        else:
            feeds[port.name] = rng.integers(0, 256 if port.dtype == "uint8" else 2, shape).astype(port.dtype)
    return feeds


def _port(entry: Any) -> Port:
    from onnx import helper

    if not entry.type.HasField("tensor_type"):
        raise BadInputError(f"{entry.name!r:.80} is no tensor; only tensors go in and out of an artifact")
    tensor = entry.type.tensor_type
    try:
        dtype = str(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)))
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{entry.name!r:.80}: element type {tensor.elem_type} is not known") from error
    sizes = (dim.dim_value if dim.WhichOneof("value") == "dim_value" else None for dim in tensor.shape.dim)
    return Port(entry.name, tuple(sizes), dtype)


def identifier_names(inputs: Sequence[Port], outputs: Sequence[Port]) -> dict[str, str]:
    """Return the file's name of each input and output -> the identifier that artifacts call it by.

    Names that are identifiers stay; in others, each character that no identifier has becomes an underscore.
    """
    names: dict[str, str] = {}
    for port in (*inputs, *outputs):
        wish = re.sub(r"\W", "_", port.name, flags=re.ASCII)
        wish = wish if wish.isidentifier() else f"t_{wish}"
        plain, count = wish, 1
        while plain in names.values():
            plain, count = f"{wish}_{count}", count + 1
        names[port.name] = plain
    return names


def rename_ports(model: onnx.ModelProto) -> None:
    """Give inputs and outputs the names of :func:`identifier_names`, in place; values inside make room."""
    names = identifier_names(inputs_of(model), outputs_of(model))
    changed = {old: new for old, new in names.items() if old != new}
    if not changed:
        return
    inside = {name for node in model.graph.node for name in (*node.input, *node.output)}
    inside |= {tensor.name for tensor in model.graph.initializer}
    for name in list(changed.values()):
        if name in inside:
            free = f"{name}_inside"
            while free in inside or free in changed.values():
                free += "_"
            changed[name] = free
    for tensor in model.graph.initializer:
        tensor.name = changed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [changed.get(name, name) for name in node.input]
        node.output[:] = [changed.get(name, name) for name in node.output]
    for port in (*model.graph.input, *model.graph.output):
        port.name = changed.get(port.name, port.name)
    del model.graph.value_info[:]
