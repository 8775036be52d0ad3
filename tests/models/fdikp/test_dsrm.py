import numpy as np
import torch
import torch.nn.functional as F
from fdikp_edge.models.fdikp.dsrm import ConvLSTM, DualDomainRefiner, LayerNorm2d
from fdikp_edge.models.fdikp.variants import TINY
from torch import nn


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3 correlation with zero borders of [C, H, W], tap by tap."""
    _, h, w = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((weight.shape[0], h, w)) + bias[:, None, None]
    for i in range(3):
        for j in range(3):
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + h, j : j + w])
    return out


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_convlstm_follows_the_equations() -> None:
    c = 3
    cell = ConvLSTM(c, separable=False).double()
    assert isinstance(cell.gates, nn.Conv2d) and cell.gates.bias is not None
    x, hidden, memory = (torch.randn(1, c, 5, 6, dtype=torch.float64) for _ in range(3))
    new_hidden, new_memory = cell(x, (hidden, memory))

    weight, bias = cell.gates.weight.detach().numpy(), cell.gates.bias.detach().numpy()
    seen = np.concatenate([x[0].numpy(), hidden[0].numpy()])
    rows = {
        gate: slice(n * c, (n + 1) * c) for n, gate in enumerate(("input", "forget", "output", "candidate"))
    }
    gate = {name: convolve(seen, weight[r], bias[r]) for name, r in rows.items()}
    expected_memory = sigmoid(gate["forget"]) * memory[0].numpy() + sigmoid(gate["input"]) * np.tanh(
        gate["candidate"]
    )
    expected_hidden = sigmoid(gate["output"]) * np.tanh(expected_memory)
    np.testing.assert_allclose(new_memory[0].detach().numpy(), expected_memory, atol=1e-14)
    np.testing.assert_allclose(new_hidden[0].detach().numpy(), expected_hidden, atol=1e-14)


def test_layer_norm_is_torchs_over_the_channels() -> None:
    norm = LayerNorm2d(7)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(7))
        norm.bias.copy_(torch.randn(7))
    x = 5 + 3 * torch.randn(2, 7, 4, 5)
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (7,), norm.weight, norm.bias, 1e-5).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), expected)


def test_refiner_shapes_and_that_every_input_matters() -> None:
    refiner, c = DualDomainRefiner(TINY), TINY.channels
    shapes = [(c, 32), (2 * c, 16), (4 * c, 8), (12, 32), (2 * c, 16), (2 * c, 16)]
    inputs = [torch.randn(1, channels, side, side, requires_grad=True) for channels, side in shapes]
    f0, f1, f2, deconvolved, hidden, memory = inputs
    residual, (new_hidden, new_memory) = refiner(f0, f1, f2, deconvolved, (hidden, memory))
    assert residual.shape == (1, 3, 32, 32)
    assert new_hidden.shape == new_memory.shape == hidden.shape
    residual.square().sum().backward()
    for tensor in inputs:
        assert tensor.grad is not None and tensor.grad.abs().amax() > 0
