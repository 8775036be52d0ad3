"""One trace lowered several times: nothing of it changes, and each program is the one of a fresh lowering."""

from __future__ import annotations

import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.lower import lower_traced
from fdikp_edge.export.spectral.traced import trace_network
from torch import Tensor, nn


class Net(nn.Module):
    """A filter behind a convolution, with what the passes change: pruned modes, a constant spectrum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.register_buffer("kernel", torch.rand(1, 1, 5, 5))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`x` [N, 3, H, W]."""
        spectrum = torch.fft.rfft2(self.conv(x))
        low = torch.zeros_like(spectrum)
        low[..., :3, :3] = spectrum[..., :3, :3]
        blurred = torch.fft.irfft2(spectrum * torch.fft.rfft2(self.kernel, s=x.shape[-2:]), s=x.shape[-2:])
        return {"low": torch.fft.irfft2(low, s=x.shape[-2:]), "blurred": blurred}


def test_programs_of_one_trace_are_those_of_fresh_ones() -> None:
    net, inputs = Net().eval(), (torch.rand(1, 3, 16, 12),)
    traced = trace_network(net, inputs)
    before = str(traced.exported.graph)
    profiles = ("onnx", "coreml", "onnx")
    again = [lower_traced(traced, target=profile) for profile in profiles]
    fresh = [lower(net, inputs, target=profile) for profile in profiles]
    assert [one.sha256 for one in again] == [one.sha256 for one in fresh]
    assert str(traced.exported.graph) == before
    assert again[0].output_names == fresh[0].output_names == ("out.low", "out.blurred")
    assert again[0].program.state_dict.keys() == fresh[0].program.state_dict.keys()


def test_a_trace_keeps_what_was_said_of_the_network() -> None:
    net = Net().bfloat16().eval()
    traced = trace_network(net, (torch.rand(1, 3, 16, 12).bfloat16(),))
    assert traced.inputs[0].dtype == torch.float32
    notes = [lower_traced(traced, target=profile).audit.notes for profile in ("onnx", "openvino")]
    assert notes[0] == notes[1] and any("float32" in note for note in notes[0])
