"""The graph of a .pt2 file, from its JSON to a module that calls one operator after the other.

Nothing is looked up by a name from the file but PyTorch's own operators on tensors, and no text of the file
becomes code. Field names are those of the format (``torch/_export/serde/schema.py`` in PyTorch).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .fields import dtype_of, identifier, integers, list_at, mapping_at, text_at
from .network import Name, Pt2Network, Step, with_last_uses

MAX_NODES = 200_000
_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_NARROW = (torch.float16, torch.bfloat16)
_GRAD_BLOCK = "torch.ops.higher_order.wrap_with_set_grad_enabled"
_NO_EFFECT = {"torch.ops.aten._assert_tensor_metadata.default"}
#: Texts that say how to compute. A file name is none of them.
_TEXT_ARGUMENTS = {
    "norm",
    "mode",
    "padding",
    "approximate",
    "equation",
    "rounding_mode",
    "interpolation",
    "indexing",
    "reduce",
    "pad_mode",
    "padding_side",
}
#: Operators with an underscore are internal and need not check their arguments; these do, and are exported.
_INTERNAL = {
    "_to_copy",
    "_unsafe_view",
    "_softmax",
    "_log_softmax",
    "_conj",
    "_conj_physical",
    "_fft_r2c",
    "_fft_c2r",
    "_fft_c2c",
    "_adaptive_avg_pool2d",
    "_native_batch_norm_legit_no_training",
    "_reshape_alias",
}


class StoredTensor(Protocol):
    """A tensor of the file, whether it is a weight or a buffer, and whether it was 16 bits wide."""

    tensor: Tensor
    parameter: bool
    narrow: bool


def build(
    program: Any, tensors: Mapping[str, StoredTensor]
) -> tuple[Pt2Network, dict[str, tuple[tuple[int, ...], torch.dtype]]]:
    """Return the module of a parsed ``model.json``, and the shape and dtype of each input by name.

    Raises:
        ValueError, KeyError, TypeError: the content is not what the format says, or needs what is never done
            here; the message says what.
    """
    module = mapping_at(program, "graph_module")
    graph, signature = mapping_at(module, "graph"), mapping_at(module, "signature")
    if program.get("range_constraints"):
        raise ValueError("it has dynamic shapes; export it again without dynamic_shapes")
    inputs: list[str] = []
    stored: dict[str, str] = {}
    for spec in list_at(signature, "input_specs"):
        ((kind, content),) = spec.items()
        if kind == "user_input":
            inputs.append(_tensor_name(content["arg"]))
        elif kind in ("parameter", "buffer", "tensor_constant"):
            stored[identifier(content["arg"]["name"])] = text_at(content, f"{kind}_name")
        else:
            raise ValueError(f"an input is of the kind {kind!r:.80}, not a tensor")
    for spec in list_at(signature, "output_specs"):
        if list(spec) != ["user_output"]:
            raise ValueError(f"it changes its own state (an output of the kind {next(iter(spec), '')!r:.80})")
    known = {name: name for name in (*inputs, *stored)}
    metas = {name: _meta(mapping_at(graph, "tensor_values")[name]) for name in inputs}
    narrow = any(dtype in _NARROW for _, dtype in metas.values())
    narrow |= any(path in tensors and tensors[path].narrow for path in stored.values())
    reader = _Reader(widen=narrow)
    reader.graph(graph, known)
    outputs = [known[_tensor_name(output)] for output in list_at(graph, "outputs")]
    network = Pt2Network(inputs, outputs, with_last_uses(reader.steps, outputs))
    network.narrowed = narrow
    _add_tensors(network, stored, tensors)
    wide = {n: (shape, torch.float32 if dtype in _NARROW else dtype) for n, (shape, dtype) in metas.items()}
    return network.eval(), wide


class _Reader:
    """Collects the calls of a graph, those of blocks inside it included."""

    def __init__(self, *, widen: bool) -> None:
        self.steps: list[Step] = []
        self._widen = widen
        self._count = 0

    def graph(self, graph: Any, known: dict[str, str]) -> None:
        """Read the nodes of a graph. ``known`` maps its names to values, and grows."""
        for node in list_at(graph, "nodes"):
            self._count += 1
            if self._count > MAX_NODES:
                raise ValueError(f"it has more than {MAX_NODES} operators")
            target = text_at(node, "target")
            if target == _GRAD_BLOCK:
                self._block(node, known)
            elif target not in _NO_EFFECT:
                self._call(node, target, known)

    def _call(self, node: Any, target: str, known: dict[str, str]) -> None:
        operator = _operator(target)
        arguments: list[Any] = []
        options: list[tuple[str, Any]] = []
        for given in list_at(node, "inputs"):
            name, value = given["name"], self._argument(given["arg"], known, given["name"])
            if given.get("kind") == 2:
                options.append((identifier(name), value))
            else:
                arguments.append(value)
        results, many = _results(list_at(node, "outputs"))
        # A block's names can be those of another block: each value gets a name of its own.
        fresh = [None if name is None else f"{name}@{self._count}" for name in results]
        known.update({name: own for name, own in zip(results, fresh, strict=True) if name and own})
        self.steps.append(Step(operator, tuple(arguments), tuple(options), tuple(fresh), many))

    def _block(self, node: Any, known: dict[str, str]) -> None:
        """Read a block under ``torch.no_grad``, which computes what it would compute without it."""
        _, block, *given = [entry["arg"] for entry in list_at(node, "inputs")]
        graph = mapping_at(mapping_at(block, "as_graph"), "graph")
        names = [_tensor_name(entry) for entry in list_at(graph, "inputs")]
        inside = {n: known[_tensor_name(arg)] for n, arg in zip(names, given, strict=True)}
        self.graph(graph, inside)
        results, _ = _results(list_at(node, "outputs"))
        returned = [inside[_tensor_name(output)] for output in list_at(graph, "outputs")]
        known.update({name: own for name, own in zip(results, returned, strict=True) if name})

    def _argument(self, argument: Any, known: dict[str, str], name: str) -> Any:
        ((kind, value),) = argument.items()
        if kind == "as_none":
            return None
        if kind in ("as_tensor", "as_tensors", "as_optional_tensor", "as_optional_tensors"):
            return _names(value, known)
        if kind in ("as_int", "as_ints", "as_bool", "as_bools", "as_float", "as_floats", "as_int_lists"):
            return value
        if kind in ("as_sym_int", "as_sym_ints"):
            whole = integers(value if isinstance(value, list) else [value])
            return whole if isinstance(value, list) else whole[0]
        if kind == "as_string" and name in _TEXT_ARGUMENTS:
            return value
        if kind == "as_scalar_type":
            dtype = dtype_of(value)
            return torch.float32 if self._widen and dtype in _NARROW else dtype
        if kind == "as_memory_format" and value in _MEMORY_FORMATS:
            return _MEMORY_FORMATS[value]
        if kind == "as_layout" and value == 7:
            return torch.strided
        if kind == "as_device" and isinstance(value, Mapping):
            return torch.device("cpu")
        if kind == "as_complex":
            return complex(value["real"], value["imag"])
        raise ValueError(f"an operator takes {name!r:.80} as {kind!r:.80}, which is not supported")


def _operator(target: str) -> Any:
    """Return one of PyTorch's own operators that take and return tensors."""
    match = re.fullmatch(r"torch\.ops\.aten\.([A-Za-z0-9_]{1,80})\.([A-Za-z0-9_]{1,80})", target)
    if match is None or (match[1].startswith("_") and match[1] not in _INTERNAL):
        raise ValueError(f"it calls {target!r:.120}, not one of PyTorch's public operators")
    try:
        operator = getattr(getattr(torch.ops.aten, match[1]), match[2])
        returns = [str(value.type) for value in operator._schema.returns]
    except AttributeError:
        raise ValueError(f"it calls {target!r:.120}, which this version of PyTorch does not have") from None
    if not returns or any(kind not in ("Tensor", "List[Tensor]") for kind in returns):
        raise ValueError(f"it calls {target!r:.120}, which does not return tensors")
    return operator


def _results(outputs: list[Any]) -> tuple[list[str | None], bool]:
    """Return the names of what a call returns, and whether it returns several tensors."""
    if len(outputs) == 1:
        ((kind, value),) = outputs[0].items()
        if kind == "as_tensors":
            return [identifier(entry["name"]) for entry in value], True
        return [None if kind == "as_none" else _tensor_name(outputs[0])], False
    return [None if "as_none" in output else _tensor_name(output) for output in outputs], True


def _names(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_names(entry, known) for entry in value]
    if isinstance(value, Mapping) and "name" in value:
        return Name(known[value["name"]])
    if isinstance(value, Mapping) and "as_tensor" in value:
        return _names(value["as_tensor"], known)
    if isinstance(value, Mapping) and "as_none" in value:
        return None
    raise ValueError("a tensor has no name")


def _add_tensors(network: Pt2Network, stored: dict[str, str], tensors: Mapping[str, StoredTensor]) -> None:
    """Put the tensors that the graph uses into the module, under the names that they had in the network."""
    for path in dict.fromkeys(stored.values()):
        if path not in tensors:
            raise ValueError(f"it has no tensor {path!r:.80}")
        *folders, leaf = [f"{part}_" if hasattr(nn.Module, part) else part for part in path.split(".")]
        if not all(part.isidentifier() or part.isdigit() for part in (*folders, leaf)):
            raise ValueError(f"{path!r:.80} is no name of a weight")
        owner: nn.Module = network
        for part in folders:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        tensor = tensors[path].tensor
        if tensors[path].parameter:
            owner.register_parameter(leaf, nn.Parameter(tensor, requires_grad=False))
        else:
            owner.register_buffer(leaf, tensor)
        network.stored.update({n: ".".join([*folders, leaf]) for n, p in stored.items() if p == path})


def _meta(value: Any) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(integers(value["sizes"])), dtype_of(value["dtype"])


def _tensor_name(argument: Any) -> str:
    if list(argument) != ["as_tensor"]:
        raise ValueError(f"a value is {next(iter(argument), 'nothing')!r:.80}, not a tensor")
    return identifier(argument["as_tensor"]["name"])
