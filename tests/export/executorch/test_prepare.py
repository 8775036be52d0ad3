"""A lowered program as it is handed to XNNPACK: the same values, and only operators that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from fdikp_edge.export import lower
from fdikp_edge.export.aten import base_name
from fdikp_edge.export.executorch.prepare import prepare
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional

TAKEN = frozenset(
    [
        *(
            "abs",
            "add",
            "avg_pool2d",
            "bmm",
            "cat",
            "clamp",
            "conv1d",
            "conv2d",
            "div",
            "constant_pad_nd",
            "exp",
            "gelu",
        ),
        *("hardtanh", "leaky_relu", "linear", "log", "maximum", "mean", "minimum", "mul", "neg", "permute"),
        *("relu", "reshape", "sigmoid", "slice", "softmax", "sqrt", "rsqrt", "sub", "tanh"),
        "upsample_bilinear2d",
    ]
)
"""What the partitioner of ExecuTorch 1.5 takes, by the names in a program before it is decomposed."""


class Calls(nn.Module):
    """A function as a network."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.matrix = nn.Parameter(torch.rand(7, 5, generator=torch.Generator().manual_seed(1)))

    def forward(self, *x: Tensor) -> Tensor:
        return self.function(*x, self.matrix)


def operators(program: ExportedProgram) -> Counter[str]:
    return Counter(base_name(n.target) for n in program.graph.nodes if n.op == "call_function")


CASES: dict[str, Callable[..., Tensor]] = {
    "product on the right": lambda x, m: x @ m.t() @ m,
    "product on the left": lambda x, m: m @ x[..., :5, :],
    "products of two": lambda x, m: x @ x.transpose(-1, -2),
    "one product for many": lambda x, m: x[:1] @ (x + 1).transpose(-1, -2),
    "a layer whose matrix is computed": lambda x, m: functional.linear(x, x[0, 0], x[0, 0, :, 0]),
    "parts": lambda x, m: torch.cat([part * i for i, part in enumerate(x.split([1, 2], 1))][::-1], 1),
    "unbind": lambda x, m: sum(part * i for i, part in enumerate(x.unbind(2))),
    "chunks": lambda x, m: x.chunk(3, 1)[2] - x.chunk(3, 1)[0],
    "select": lambda x, m: x.select(1, -1) * x[:, 0],
    "every second": lambda x, m: x[:, :, 1::2],
    "stack": lambda x, m: torch.stack([x, x + 1], -1),
    "expand in a sum": lambda x, m: x[:, :1].expand(-1, 3, -1, -1) + x,
    "expand alone": lambda x, m: x[:, :1].expand(-1, 3, -1, -1),
    "expand in a cat": lambda x, m: torch.cat([x[:, :1].expand(-1, 3, -1, -1), x], 1),
    "sums": lambda x, m: x.sum((1, 3)) + x.sum(3).sum(1),
    "mean of channels": lambda x, m: x.mean(1, keepdim=True) * x,
    "sum of maps": lambda x, m: x.sum((2, 3), keepdim=True) - x.sum((-1, -2))[:, :, None, None] * 2,
    "mean of maps": lambda x, m: x.mean((2, 3)),
    "mean of all": lambda x, m: x.mean().reshape(1),
    "softmax of channels": lambda x, m: x.softmax(1),
    "pixel shuffle": lambda x, m: functional.pixel_shuffle(functional.pixel_unshuffle(x, 2) * 2, 2),
    "numbers": lambda x, m: (1 - x) * 2 + 3 / (x.abs().sqrt() + 1),
    "logarithm and powers": lambda x, m: torch.log1p(x * x) + (x**2) + x.square(),
    "layer norm": lambda x, m: functional.layer_norm(x, (5,), m[0], m[1]),
    "group norm": lambda x, m: functional.group_norm(x, 1, m[:3, 0], m[:3, 1]),
    "repeat": lambda x, m: x.repeat(1, 2, 1, 3),
    "squeeze": lambda x, m: x.unsqueeze(2).squeeze(0).flatten(1),
    "a map joined with itself": lambda x, m: torch.cat([x, x, x + 1, x], 1),
    "a stack of one map": lambda x, m: torch.stack([x, x], 2),
    "maps of one number": lambda x, m: torch.full_like(x, 0.5) - x.new_zeros(2, 3, 6, 5) * torch.ones_like(x),
    "reflected edges": lambda x, m: functional.pad(x, (2, 1, 0, 3), mode="reflect"),
    "repeated edges": lambda x, m: functional.pad(x, (2, 1, 0, 3), mode="replicate"),
    "wrapped edges": lambda x, m: functional.pad(x, (2, 1, 0, 3), mode="circular"),
    "edges of a signal": lambda x, m: functional.pad(x[0], (4, 4), mode="reflect"),
    "a part written": lambda x, m: torch.slice_scatter(x, x[:, :, 1:3] * 2, 2, 1, 3),
    "first and last written": lambda x, m: torch.slice_scatter(
        torch.slice_scatter(x, x[:, :1] * 2, 1, 0, 1), x[..., :2], -1, -2
    ),
    "all written": lambda x, m: torch.slice_scatter(x, x * 2, 2),
    "softplus": lambda x, m: functional.softplus(200 * x - 100) + functional.softplus(x, 3),
    "logarithm of ten": lambda x, m: torch.log10(x + 0.1),
    "volumes": lambda x, m: functional.conv3d(
        x.reshape(1, 2, 3, 6, 5), m[:6, :4].reshape(3, 2, 2, 1, 2), m[0, :3], padding=(1, 0, 1)
    ),
    "volumes of groups": lambda x, m: functional.conv3d(
        x.reshape(2, 1, 3, 6, 5).expand(-1, 2, -1, -1, -1),
        m[:6, :2].reshape(2, 1, 2, 3, 1),
        stride=(1, 2, 1),
        dilation=(2, 1, 1),
        groups=2,
    ),
    "a new map of a number": lambda x, m: x.new_full((3, 6, 5), 2.0) * x + x.new_ones(5),
}


@pytest.mark.parametrize("name", CASES)
def test_a_rule_keeps_the_values_and_leaves_what_xnnpack_takes(name: str) -> None:
    network = Calls(CASES[name]).eval()
    x = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    if name == "pixel shuffle":
        x = torch.rand(2, 3, 6, 4, generator=torch.Generator().manual_seed(0))
    if name in ("every second", "product on the left"):
        x = torch.rand(2, 3, 8, 5, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(network, (x,))
    before = operators(program)
    prepared = prepare(program)
    with torch.no_grad():
        torch.testing.assert_close(prepared.module()(x), network(x), rtol=1e-5, atol=1e-6)
    assert not set(operators(prepared)) - TAKEN
    assert operators(program) == before  # what it was made from is still what it was


@pytest.mark.parametrize(
    ("dim", "places", "taken"),
    [
        (2, [1, 3, 5], True),  # every second
        (-2, [0, 3, 1, 4], True),  # a grid of two rows of three, by its columns
        (2, [1, 4, 2, 5], True),
        (2, [1, 2, 4, 5], True),  # the same, by its rows
        (1, [2], True),
        (3, [1, 2, 3], True),
        (2, [0, 1, 2, 3, 4, 5], True),
        (2, [2, 3, 5, 0], False),  # no grid
        (2, [], False),
        (2, [5, 4, 3], False),  # backwards
        (2, [0, 0, 0], False),  # the same again
        (2, [1, 2, 3, 3, 4, 5], False),  # rows of three from the second place on do not lie in one row
        (3, [0, 2], False),  # every second of five
    ],
)
def test_an_index_that_is_a_grid_becomes_slices(dim: int, places: list[int], taken: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("places", torch.tensor(places, dtype=torch.long))

        def forward(self, x: Tensor) -> Tensor:
            return x.index_select(dim, self.places) * 2

    x = torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    prepared = prepare(torch.export.export(Net().eval(), (x,)))
    with torch.no_grad():
        assert torch.equal(prepared.module()(x), Net()(x))
    assert ("index_select" not in operators(prepared)) == taken


def test_a_transform_and_its_inverse_share_their_permutes() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=(12, 16))

    x = torch.rand(1, 2, 12, 16, generator=torch.Generator().manual_seed(0))
    program = lower(Net().eval(), (x,), target="executorch", plan={"*": "separable"}).program
    prepared = prepare(program)
    with torch.no_grad():
        torch.testing.assert_close(prepared.module()(x), x * 0.5, rtol=1e-5, atol=1e-6)
    counts = operators(prepared)
    assert not set(counts) - TAKEN
    assert counts["permute"] <= 8  # two into and two out of each of the two stages along the height


def test_what_has_no_rule_stays_as_it_is() -> None:
    network = Calls(lambda x, m: torch.atan2(x, x + 1)).eval()
    x = torch.rand(2, 3, 6, 5)
    prepared = prepare(torch.export.export(network, (x,)))
    assert operators(prepared)["atan2"] == 1


class Gates(nn.Module):
    """A convolution whose results are gates: lowered, each gate is a convolution with part of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        opened, value = self.gates(x).chunk(2, 1)
        return torch.sigmoid(opened) * torch.tanh(value)


def test_parts_of_a_stored_tensor_are_stored() -> None:
    """A delegate takes a convolution only if its weights are constants."""
    network, x = Gates().eval(), torch.rand(1, 3, 4, 6)
    lowered = lower(network, (x,), target="executorch").program
    assert operators(lowered)["split_with_sizes"], "what is tested here is in it"
    program = prepare(lowered)
    layers = [node for node in program.graph.nodes if base_name(node.target) == "conv2d"]
    assert [node.args[1].op for node in layers] == ["placeholder"] * 2
    assert all(value.storage_offset() == 0 for value in program.state_dict.values())
    assert torch.allclose(program.module()(x), network(x), atol=1e-6)
