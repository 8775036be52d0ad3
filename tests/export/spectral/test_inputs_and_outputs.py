"""Networks of other inputs, outputs and precisions than one float32 image each way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from fdikp_edge.export.contracts import Deployable
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.export.reference import Reference
from fdikp_edge.export.spectral import lower
from fdikp_edge.runtime.errors import LoweringError
from torch import Tensor, nn
from torch.utils import _pytree as pytree

SIZE = (8, 12)


class Filter(nn.Module):
    """A convolution behind a filter of half the spectrum."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.mix = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Any:
        return x + self.mix(torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=x.shape[-2:]))


class TwoInputs(Filter):
    def forward(self, picture: Tensor, noise: Tensor) -> Any:
        return super().forward(picture) * noise


class Pictures(NamedTuple):
    """A result with names."""

    picture: Tensor
    mask: Tensor


class Named(Filter):
    def forward(self, x: Tensor) -> Any:
        y = super().forward(x)
        return Pictures(y, y > 0.5)


class Nested(Filter):
    def forward(self, x: Tensor) -> Any:
        y = super().forward(x)
        return {"picture": y, "scales": [y[..., ::2], (y[..., ::4],)]}


class Listed(Filter):
    def forward(self, x: Tensor) -> Any:
        y = super().forward(x)
        return [y, y * 2]


class WithExtras(Filter):
    def forward(self, x: Tensor) -> Any:
        return {"loss": None, "picture": super().forward(x), "count": 3}


def images(*channels: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(1, count, *SIZE, generator=generator) for count in channels)


CASES: dict[str, tuple[nn.Module, tuple[Tensor, ...], tuple[str, ...], tuple[str, ...]]] = {
    "grey": (Filter(1), images(1), ("x",), ("out",)),
    "four channels": (Filter(4), images(4), ("x",), ("out",)),
    "two inputs": (TwoInputs(), images(3, 1), ("picture", "noise"), ("out",)),
    "named tuple": (Named(), images(3), ("x",), ("out.picture", "out.mask")),
    "nested": (Nested(), images(3), ("x",), ("out.picture", "out.scales.0", "out.scales.1.0")),
    "list": (Listed(), images(3), ("x",), ("out.0", "out.1")),
    "extras": (WithExtras(), images(3), ("x",), ("out.picture",)),
}


@pytest.mark.parametrize("name", CASES)
def test_inputs_and_outputs_have_names(name: str) -> None:
    network, inputs, input_names, output_names = CASES[name]
    lowered = lower(network.eval(), inputs)
    assert lowered.input_names == input_names
    assert lowered.output_names == output_names
    leaves = pytree.tree_leaves(lowered.program.module()(*inputs))
    expected = [leaf for leaf in pytree.tree_leaves(network(*inputs)) if isinstance(leaf, Tensor)]
    assert len(leaves) == len(output_names) == len(lowered.program.graph_signature.user_outputs)
    for one, right in zip(leaves, expected, strict=True):
        torch.testing.assert_close(one, right, atol=1e-5, rtol=0)


def test_what_is_no_tensor_is_left_out_and_noted() -> None:
    notes = lower(WithExtras().eval(), images(3)).audit.notes
    assert [note for note in notes if "left out" in note] == [
        "output out.loss is None, not a tensor, and is left out",
        "output out.count is 3, not a tensor, and is left out",
    ]


def test_a_class_that_torch_does_not_know_is_refused_in_words() -> None:
    @dataclass
    class Result:
        picture: Tensor

    class Unknown(Filter):
        def forward(self, x: Tensor) -> Any:
            return Result(super().forward(x))

    with pytest.raises(LoweringError, match=r"Unknown returns a Result, which .*register_dataclass"):
        lower(Unknown().eval(), images(3))


class Casting(Filter):
    """Casts to the 16-bit type of its weights in its own code, and reports a dtype of its own."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x.half()).to(self.mix.weight.dtype) + torch.zeros(1, dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [Filter, Casting])
def test_a_network_of_16_bit_floats_is_lowered_in_float32(kind: type[nn.Module], dtype: torch.dtype) -> None:
    network = kind().eval().to(dtype)
    same = Filter()
    same.load_state_dict({key: value.float() for key, value in network.state_dict().items()})
    (x,) = images(3)
    for given in (x, x.to(dtype)):
        lowered = lower(network, (given,))
        kinds = {
            node.meta["val"].dtype
            for node in lowered.program.graph.nodes
            if isinstance(node.meta.get("val"), Tensor) and node.meta["val"].is_floating_point()
        }
        assert kinds == {torch.float32}
        torch.testing.assert_close(lowered.program.module()(x), same(x), atol=1e-5, rtol=0)
        assert (
            f"the network's {str(dtype).removeprefix('torch.')} is lowered in float32" in lowered.audit.notes
        )
    assert {p.dtype for p in network.parameters()} == {dtype}


def test_a_network_of_16_bit_floats_has_notes_and_references() -> None:
    network = Casting().eval().half()
    model = lower_model(network, SIZE)
    assert "the network's float16 is lowered in float32" in model.notes
    same = Filter()
    same.load_state_dict({key: value.float() for key, value in network.state_dict().items()})
    (x,) = images(3)
    reference = Reference(Deployable(network).eval())
    torch.testing.assert_close(torch.from_numpy(reference(x.numpy())), same(x), atol=1e-6, rtol=0)
    double = torch.from_numpy(reference(x.numpy(), "float64"))
    assert reference.float64_problem == ""
    torch.testing.assert_close(double, same.double()(x.double()), atol=1e-13, rtol=0)
