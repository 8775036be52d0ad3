"""Computed kernels of grouped convolutions, one reshape for each reader.

OpenVINO 2026.4.1 moves a factor behind a grouped convolution (a sign, a subtraction, a normalisation) into
the weights. Where these are computed at run time and several layers read them through one ``Reshape``, all
the others then read the changed weights too, and return wrong results without a warning. Equal reshapes are
merged before that, so each reader gets one that spells the same shape in another way.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino

GROUPED = ("GroupConvolution", "GroupConvolutionBackpropData")


def separate_kernels(model: openvino.Model) -> int:
    """Give every grouped convolution with computed weights a reshape of its own, in place; returns how many.

    Raises:
        ValueError: more convolutions read one kernel than a shape has spellings (12 in two dimensions).
    """
    from openvino import opset13 as opset

    computed: set[str] = set()
    readers: dict[Any, list[Any]] = defaultdict(list)
    for node in model.get_ordered_ops():
        inputs = [value.get_node() for value in node.input_values()]
        if node.get_type_name() == "Parameter" or any(i.get_friendly_name() in computed for i in inputs):
            computed.add(node.get_friendly_name())
        if node.get_type_name() in GROUPED:
            reshape = inputs[1]
            if reshape.get_type_name() == "Reshape" and reshape.get_friendly_name() in computed:
                source = reshape.input_value(0)
                name = source.get_node().get_friendly_name()
                readers[name, source.get_index(), tuple(node.input_value(1).get_shape())].append(node)
    count = 0
    for (*_, shape), nodes in readers.items():
        spellings = list(product((False, True), (None, *range(len(shape)))))
        if len(nodes) > len(spellings):
            raise ValueError(
                f"{len(nodes)} grouped convolutions read one computed kernel, more than the "
                f"{len(spellings)} that OpenVINO can be kept from mixing up"
            )
        for node, (special_zero, free) in zip(nodes, spellings, strict=False):
            spelled = np.array([-1 if axis == free else size for axis, size in enumerate(shape)], np.int64)
            source = node.input_value(1).get_node().input_value(0)
            node.input(1).replace_source_output(
                opset.reshape(source, opset.constant(spelled), special_zero).output(0)
            )
            count += 1
    return count
