"""A program with pairs of quantise and dequantise operators rounds what the emulation rounds."""

from __future__ import annotations

import numpy as np
import torch
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.executorch.quantise import quantised_program
from fdikp_edge.export.lowered import LoweredModel


def test_the_quantised_program_computes_what_the_emulation_does(lowered: LoweredModel) -> None:
    own = lowered.for_profile("executorch")
    table = calibrate(own, count=2, least_work=0)
    section = table.section(own.lowered.key)
    assert section.quantised()
    scales = {name: table.scale(own.lowered.key, name) for name in section.tensors}
    emulated = Int8Runner(own.lowered.program, section.quantised(), scales, rounded_results=True)
    x = np.random.default_rng(0).random(lowered.inputs[0].shape, dtype=np.float32)
    program = quantised_program(own.lowered, table)
    with torch.no_grad():
        result = torch.utils._pytree.tree_leaves(program.module()(torch.from_numpy(x)))[0].numpy()
        plain = torch.utils._pytree.tree_leaves(own.lowered.program.module()(torch.from_numpy(x)))[0].numpy()
    assert np.abs(result - emulated(x)).max() < 1e-5
    assert np.abs(result - plain).max() > 1e-4, "nothing was rounded"
    kinds = [str(node.target) for node in program.graph.nodes]
    pairs = kinds.count("quantized_decomposed.quantize_per_tensor.default")
    assert len(section.quantised()) <= pairs <= 2 * len(section.quantised()), "a value is rounded twice"
