"""Constants that forward reads in Python are numbers; what depends on an input is refused with its line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.runtime.errors import DynamicShapeError, LoweringError
from torch import Tensor, nn

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """A network whose forward is one of the functions below."""

    def __init__(self, function: Callable[[Reader, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("mask", torch.tensor([True, False, True, False]))
        self.register_buffer("scale", torch.tensor([2.0, 3.0]), persistent=False)
        self.weight = nn.Parameter(torch.ones(4))
        self.plain = torch.ones(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def of_code(net: Reader, x: Tensor) -> Tensor:
    return x + 1 if torch.sum(torch.tensor([0, 1])) != 0 else x


def of_buffer(net: Reader, x: Tensor) -> Tensor:
    return x * 2 if bool(net.mask.any()) else x


def of_parameter(net: Reader, x: Tensor) -> Tensor:
    return x * net.weight.sum().item()


def of_list(net: Reader, x: Tensor) -> Tensor:
    return sum((x * value for value in torch.linspace(0.25, 1.0, 4).tolist()), x)


def of_slices(net: Reader, x: Tensor) -> Tensor:
    return x[:, : int(net.scale[1].item())]


def of_writes(net: Reader, x: Tensor) -> Tensor:
    steps = torch.zeros(3)
    steps[1] = 5
    view = steps[1:]
    view += 1
    code = torch.tensor([0.0, 1.0])
    code[0] = 7
    return x * steps[1].item() + code[0].item() + code.sum()


CONSTANT = [of_code, of_buffer, of_parameter, of_list, of_slices, of_writes]


@pytest.mark.parametrize("function", CONSTANT, ids=lambda f: f.__name__)
def test_constants_are_read(function: Callable[[Reader, Tensor], Tensor]) -> None:
    net = Reader(function).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    lowered = lower(net, (X,))
    assert torch.allclose(lowered.program.module()(X), net(X), atol=1e-6)
    assert any("test_specialise.py" in note for note in lowered.audit.notes), (
        "the audit says what was baked in"
    )
    assert lowered.audit.to_json()["notes"] == list(lowered.audit.notes)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert torch.equal(net.plain, torch.ones(2))


def of_input(net: Reader, x: Tensor) -> Tensor:
    return x + 1 if x.sum() > 0 else x


def of_written_view(net: Reader, x: Tensor) -> Tensor:
    steps = torch.zeros(3)
    view = steps[1:]
    view += x.sum()
    return x + 1 if steps.sum() > 0 else x


def of_overwritten(net: Reader, x: Tensor) -> Tensor:
    own = net.scale.clone()
    own[0] = x.sum()
    return x * own.max().item()


@pytest.mark.parametrize("function", [of_input, of_written_view, of_overwritten], ids=lambda f: f.__name__)
def test_inputs_are_not(
    function: Callable[[Reader, Tensor], Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DynamicShapeError, match=r"test_specialise\.py:[0-9]+|root module") as caught:
        lower(Reader(function).eval(), (X,))
    assert len(str(caught.value)) < 700
    printed = capsys.readouterr()
    assert "def forward" not in printed.out + printed.err, "no dump of the graph"


def out_of_input(net: Reader, x: Tensor) -> Tensor:
    written = torch.empty(2)
    torch.maximum(x[0, :2], x[1, :2], out=written)
    written.add_(1)
    return x * (2.0 if written.min().item() > 0 else 5.0)


def out_of_a_list(net: Reader, x: Tensor) -> Tensor:
    written = [torch.zeros(2), torch.zeros(2)]
    torch._foreach_add_(written, [x[0, :2], x[1, :2]])
    return x * (2.0 if written[1].sum().item() > 0 else 5.0)


@pytest.mark.parametrize("function", [out_of_input, out_of_a_list])
def test_what_an_operator_writes_elsewhere_is_unknown_too(
    function: Callable[[Reader, Tensor], Tensor],
) -> None:
    with pytest.raises(DynamicShapeError):
        lower(Reader(function).eval(), (X,))


def test_a_constant_written_into_out_is_read() -> None:
    def function(net: Reader, x: Tensor) -> Tensor:
        written = torch.zeros(2)
        torch.mul(net.scale, 2, out=written)
        return x * written.sum().item()

    net = Reader(function).eval()
    assert torch.equal(lower(net, (X,)).program.module()(X), X * 10)
    assert net.scale.tolist() == [2.0, 3.0]


def data_of_input(net: Reader, x: Tensor) -> Tensor:
    t = torch.zeros(2)
    t.data = x[0, :2]
    return x * (2.0 if t.sum().item() > 0 else 5.0)


def data_of_a_constant(net: Reader, x: Tensor) -> Tensor:
    t = torch.zeros(2)
    t.data = torch.ones(2)
    return x + t.sum()


def data_of_a_parameter(net: Reader, x: Tensor) -> Tensor:
    net.weight.data = net.weight.data.clamp(0, 0.5)
    return x * net.weight


@pytest.mark.parametrize("function", [data_of_input, data_of_a_constant, data_of_a_parameter])
def test_an_assignment_to_data_is_refused_with_its_line(function: Callable[[Reader, Tensor], Tensor]) -> None:
    net = Reader(function).eval()
    with pytest.raises(LoweringError, match=r"assigns to \.data at test_specialise\.py:[0-9]+ \(.*\.data = "):
        lower(net, (X,))
    assert torch.equal(net.weight, torch.ones(4))


def test_writing_through_data_is_followed() -> None:
    def function(net: Reader, x: Tensor) -> Tensor:
        t = torch.zeros(2)
        t.data.add_(x[0, :2])
        return x * t.sum()

    net = Reader(function).eval()
    program = lower(net, (X,)).program.module()
    assert torch.allclose(program(-X), net(-X), atol=1e-6)


def asserts_all(net: Reader, x: Tensor) -> Tensor:
    y = torch.nn.functional.pad(x, (1, 1))
    assert (y[:, 1:-1] == x).all(), "as Demucs checks its own padding"
    return y * 2


def asserts_none(net: Reader, x: Tensor) -> Tensor:
    assert not x.isnan().any()
    return x * 2


@pytest.mark.parametrize("function", [asserts_all, asserts_none])
def test_an_assertion_on_data_is_left_out_and_named(function: Callable[[Reader, Tensor], Tensor]) -> None:
    net = Reader(function).eval()
    lowered = lower(net, (X,))
    assert torch.equal(lowered.program.module()(-X), net(-X))
    (note,) = lowered.audit.notes
    assert note.startswith("not checked: test_specialise.py:") and "assert" in note


def asserts_two(net: Reader, x: Tensor) -> Tensor:
    assert (x == x).all() or (x > 0).all()
    return x


def asserts_a_number(net: Reader, x: Tensor) -> Tensor:
    assert x.sum().item() < 100
    return x


def branches_on_truth(net: Reader, x: Tensor) -> Tensor:
    return x if (x == x).all() else x + 1


@pytest.mark.parametrize("function", [asserts_two, asserts_a_number, branches_on_truth])
def test_other_reads_of_data_are_not_taken_for_assertions(
    function: Callable[[Reader, Tensor], Tensor],
) -> None:
    with pytest.raises(DynamicShapeError, match=r"test_specialise\.py:[0-9]+"):
        lower(Reader(function).eval(), (X,))
