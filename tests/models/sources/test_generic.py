import pytest
import torch
from fdikp_edge.models.fdikp.fdikp import FDIKP
from fdikp_edge.models.fdikp.variants import TINY
from fdikp_edge.models.sources import NetworkSource, TensorSpec, of
from fdikp_edge.runtime.errors import SourceError
from torch import Tensor, nn


class Two(nn.Module):
    def forward(self, noisy: Tensor, level: Tensor, strength: float = 1.0) -> Tensor:
        return noisy * level * strength


def test_fdikp_speaks_for_itself() -> None:
    model = FDIKP(TINY, seed=3)
    source = of(model)
    assert source.load() is model
    assert (source.name, source.outputs, source.scale) == ("tiny", ("deblurred",), 1)
    assert source.sizes == TINY.size and source.trained is False and "seed 3" in source.note
    assert source.inputs == (TensorSpec("image", (1, 3, None, None), layout="NCHW", color="RGB"),)
    assert source.photo is not None and source.photo.exists()
    assert of(model, "mine").name == "mine"


@pytest.mark.parametrize(
    ("channels", "expected", "color", "noted"),
    [
        (1, 1, "grey", True),
        (3, 3, "RGB", False),
        (4, 4, "", True),
        (6, 3, "RGB", True),
        (None, 3, "RGB", True),
    ],
)
def test_one_picture_with_the_channels_of_the_first_convolution(
    channels: int | None, expected: int, color: str, noted: bool
) -> None:
    module = nn.Sequential(nn.ReLU() if channels is None else nn.Conv2d(channels, 2, 1))
    source = of(module, "net")
    (spec,) = source.inputs
    assert (spec.name, spec.shape, spec.color, spec.layout) == (
        "input",
        (1, expected, None, None),
        color,
        "NCHW",
    )
    assert any("--input overrides" in note for note in source.notes) is noted


def test_several_tensors_have_to_be_described() -> None:
    with pytest.raises(SourceError, match=r"needs 2 tensors: noisy, level\. .*--input noisy="):
        of(Two())
    level, noisy = TensorSpec("level", (1,)), TensorSpec("noisy", (1, 3, 8, 8))
    assert [spec.name for spec in of(Two(), inputs=[level, noisy]).inputs] == ["noisy", "level"]
    other = [TensorSpec("a", (1,)), TensorSpec("b", (1,))]
    assert [spec.name for spec in of(Two(), inputs=other).inputs] == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["noisy"], "needs 2 tensors"),
        (["noisy", "levle"], "no parameter 'levle'"),
        (["noisy", "strength"], "takes 'level' before 'strength'"),
        (["a", "b", "c", "d"], "takes 3 tensors, 4 are described"),
    ],
)
def test_descriptions_that_do_not_fit_forward_are_refused(names: list[str], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        of(Two(), inputs=[TensorSpec(name, (1,)) for name in names])


def test_arguments_by_name_only_are_refused() -> None:
    class Named(nn.Module):
        def forward(self, x: Tensor, *, gain: Tensor) -> Tensor:
            return x * gain

    with pytest.raises(SourceError, match="needs 'gain' by name"):
        of(Named())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_in_a_copy(dtype: torch.dtype) -> None:
    module = nn.Conv2d(3, 2, 1).to(dtype)
    source = of(module)
    assert source.load().weight.dtype == torch.float32  # type: ignore[union-attr]
    assert module.weight.dtype == dtype
    assert any("converted to float32" in note for note in source.notes)
    plain = nn.Conv2d(3, 2, 1)
    assert of(plain).load() is plain


class CastingByName(nn.Module):
    """Casts its input to the type of its weights by name, as networks trained in bfloat16 do."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> Tensor:
        mixed: Tensor = self.mix(image.bfloat16())
        return mixed.float()


def test_a_network_that_casts_to_its_16_bit_type_runs_in_float32() -> None:
    module = CastingByName().eval().to(torch.bfloat16)
    network = of(module).load()
    assert isinstance(network, CastingByName)
    image = torch.rand(1, 3, 4, 6)
    expected = CastingByName()
    expected.load_state_dict({name: value.float() for name, value in module.state_dict().items()})
    torch.testing.assert_close(network(image), expected.mix(image), rtol=0, atol=1e-6)
    torch.export.export(network, (image,))
    assert module.mix.weight.dtype == torch.bfloat16


def test_a_network_source_method_has_to_return_one() -> None:
    class Wrong(nn.Module):
        def network_source(self) -> str:
            return "tiny"

    with pytest.raises(SourceError, match=r"Wrong\.network_source\(\) returned str"):
        of(Wrong())


def test_declared_inputs_replace_those_of_the_same_name() -> None:
    spec = TensorSpec("image", (1, 3, 256, 256), layout="NCHW", color="RGB")
    source: NetworkSource = of(FDIKP(TINY), inputs=[spec])
    assert source.inputs == (spec,)
    with pytest.raises(SourceError, match=r"no input 'photo'; its inputs: image"):
        of(FDIKP(TINY), inputs=[TensorSpec("photo", (1,))])
