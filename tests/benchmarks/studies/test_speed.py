"""The study of speed: a network of one's own with several inputs beside PyTorch, and its JSON and text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fdikp_edge.benchmarks.studies import speed, speed_table

NETWORK = """
import torch
from torch import nn

class Mixed(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, wave: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        spectrum = torch.fft.rfft(wave) * torch.sigmoid(mask) * self.gain
        return {"wave": torch.fft.irfft(spectrum, n=wave.shape[-1])}
"""


def test_a_network_with_several_inputs_is_timed_beside_its_naive_export(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(NETWORK)
    declared = ["wave=1x4x32", "mask=1x4x17"]
    result = speed.network(
        f"{path}:Mixed", None, 1, 3, arguments={"gain": 2.0}, declared=declared, seconds=2.0, clock="cpu"
    )
    names = [row["name"] for row in result["rows"]]
    assert names[0] == speed_table.EAGER and {"onnx", "openvino"} < set(names)
    assert all(row["n"] >= 3 and row["min"] > 0 and row["max_abs"] < 1e-5 for row in result["rows"])
    # One complex value is two reals: 17 of 32 modes forward, as many back, for 4 rows.
    assert 0 < result["multiply_adds"] <= 2 * (2 * 17 * 32 * 4)
    text = speed_table.show(result)
    assert "vs exporter" in text and f"Best: {result['best']}" in text
    assert np.isfinite(result["limit_ms"])
