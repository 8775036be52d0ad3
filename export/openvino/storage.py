"""Stores the constants of an OpenVINO model as :mod:`..storage` says, and writes its text without indents.

It is for a converted model that is about to be saved: OpenVINO's common optimisations fold what is made here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..storage import Stored, choose

if TYPE_CHECKING:
    import openvino


def store(model: openvino.Model) -> list[Stored]:
    """Store constants of a model that will be saved smaller, in place; return how each of those was."""
    records = []
    for op in model.get_ordered_ops():
        if op.get_type_name() != "Constant" or op.get_element_type().get_type_name() not in ("f32", "f16"):
            continue
        port = op.output(0)
        readers = port.get_target_inputs()
        # Ranges and steps must be constants before anything is folded.
        pinned = any(reader.get_node().get_type_name() == "FakeQuantize" for reader in readers)
        stored = None if pinned else choose(np.array(op.data))
        if stored is None:
            continue
        restored = _restored(op.get_friendly_name(), stored).output(0)
        names = port.get_names()
        for reader in readers:
            reader.replace_source_output(restored)
        port.set_names(set())
        restored.set_names(names)
        records.append(stored)
    _share(model)
    return records


def save(model: openvino.Model, path: Path) -> None:
    """Write a model (``path`` and its ``.bin``) without the white space that is a sixth of its text."""
    import openvino

    openvino.save_model(model, str(path), compress_to_fp16=False)
    text = path.read_text(encoding="utf-8")
    # An attribute's value holds no "<": between ">" and "<" there is nothing but white space.
    path.write_text(re.sub(r">\s+<", "><", text), encoding="utf-8")


def _share(model: openvino.Model) -> None:
    """Let operators read the first of equal constants: integers, and the limits of one FakeQuantize.

    Other floats stay apart: of shared ones OpenVINO's transformations to 8 bits make another network, with
    another result.
    """
    first: dict[tuple[Any, ...], Any] = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() != "Constant":
            continue
        port = op.output(0)
        kind = port.get_element_type().get_type_name()
        readers = [reader.get_node() for reader in port.get_target_inputs()]
        owners = {reader.get_friendly_name() for reader in readers}
        if kind[:1] in "iu":  # i64, i8, u8 and so on
            owner = ""
        elif len(owners) == 1 and readers[0].get_type_name() == "FakeQuantize":
            (owner,) = owners
        else:
            continue
        one = first.setdefault((owner, kind, tuple(port.get_shape()), op.data.tobytes()), port)
        if one is not port:
            for reader in port.get_target_inputs():
                reader.replace_source_output(one)


def _restored(name: str, stored: Stored) -> Any:
    """Return the operator that makes the constant called ``name``, and takes its name."""
    from openvino import opset13 as operators

    def named(op: Any, word: str) -> Any:
        op.set_friendly_name(f"{name}/{word}")
        return op

    if stored.form == "same":
        fill = named(operators.constant(stored.data), "value")
        shape = named(operators.constant(np.array(stored.shape, np.int64)), "shape")
        op = operators.broadcast(fill, shape)
    elif stored.table is None:
        op = operators.convert(
            named(operators.constant(stored.data), "whole"), stored.dtype.name.replace("float", "f")
        )
    else:
        places = named(operators.constant(stored.data), "places")
        table = named(operators.constant(stored.table), "table")
        axis = named(operators.constant(np.int64(0)), "axis")
        op = operators.gather(table, named(operators.convert(places, "i32"), "index"), axis)
    op.set_friendly_name(name)
    return op
