from dataclasses import replace

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.fdikp.fdikp import FDIKP, resize
from fdikp_edge.models.fdikp.variants import BASE, SMALL, TINY, VARIANTS, Variant, get_variant
from fdikp_edge.models.sources.sizes import SizeRequirements
from fdikp_edge.runtime.errors import SizeError, UnknownNameError
from torch.utils.flop_counter import FlopCounterMode

ALL = pytest.mark.parametrize("variant", VARIANTS.values(), ids=lambda v: v.name)

#: What the architecture was designed to have: millions of parameters, and thousand millions of multiply-adds
#: in convolutions and matrix products at 256x256.
DESIGNED = {"tiny": (0.521, 3.7), "small": (2.006, 19.4), "base": (6.373, 74.5)}


def smallest(variant: Variant) -> torch.Tensor:
    """Random images of the smallest size, for base the smallest on which no map is a single frequency."""
    side = max(variant.size.minimum, 64)
    return torch.rand(1, 3, side, side)


@ALL
def test_number_of_parameters_and_multiply_adds(variant: Variant) -> None:
    parameters, gmacs = DESIGNED[variant.name]
    model = FDIKP(variant)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(parameters, rel=0.005)
    with FlopCounterMode(display=False) as counter:  # counts two operations per multiply-add, and no FFT
        model.to("meta")(torch.empty(1, 3, 256, 256, device="meta"))
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, rel=0.02)


@ALL
def test_three_scales_come_back_and_the_untrained_answer_is_near_the_input(variant: Variant) -> None:
    model, x = FDIKP(variant), smallest(variant)
    with torch.no_grad():
        outputs = model(x)
    assert [tuple(y.shape[-2:]) for y in outputs] == [tuple(s // f for s in x.shape[-2:]) for f in (4, 2, 1)]
    difference = outputs[-1] - x
    assert 0.01 < difference.std() < 0.1, "near the input, yet not equal: every branch has to show"


@ALL
def test_activations_are_of_moderate_size(variant: Variant) -> None:
    peaks: dict[str, float] = {}

    def watch(name: str) -> None:
        def record(_module: torch.nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor):
                peaks[name] = max(peaks.get(name, 0.0), output.abs().max().item())

        model.get_submodule(name).register_forward_hook(record)

    model = FDIKP(variant)
    for name, module in model.named_modules():
        if not list(module.children()):
            watch(name)
    with torch.no_grad():
        model(smallest(variant))
    assert len(peaks) > 50
    assert max(peaks.values()) < 100


@ALL
def test_every_parameter_reaches_the_answer(variant: Variant) -> None:
    model = FDIKP(variant)
    model(smallest(variant))[-1].square().mean().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-12]
    assert not dead


PARTS = (
    "dikp.spatial",
    "dikp.frequency",
    "dikp.gate",
    "pac.attention",
    "dsrm.memory",
    "dsrm.refine2.0.fourier",
)


@pytest.mark.parametrize(
    ("variant", "part"),
    [(v, part) for v in (TINY, BASE) for part in PARTS]
    + [(BASE, "pac.modulation"), (BASE, "encode1.0.fourier")],
    ids=lambda v: getattr(v, "name", v),
)
def test_losing_any_part_shows_in_the_untrained_answer(variant: Variant, part: str) -> None:
    """Else a parity check of an untrained network (2e-5) could pass with that part computed wrongly."""
    model, x = FDIKP(variant), smallest(variant)
    with torch.no_grad():
        whole = model(x)[-1]
        for parameter in model.get_submodule(part).parameters():
            parameter.zero_()
        assert (model(x)[-1] - whole).abs().max() > 2e-4


def test_initial_weights_follow_from_the_seed_alone() -> None:
    hashes = {}
    for global_seed, seed in ((1, 3), (2, 3), (1, 4)):
        torch.manual_seed(global_seed)
        hashes[global_seed, seed] = zoo.weights_sha256(FDIKP(TINY, seed=seed))
    assert hashes[1, 3] == hashes[2, 3] != hashes[1, 4]


@ALL
def test_initial_weights_are_all_drawn_from_the_seed(variant: Variant) -> None:
    torch.manual_seed(1)
    first = FDIKP(variant).state_dict()
    torch.manual_seed(2)
    second = FDIKP(variant).state_dict()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@ALL
def test_float32_is_as_exact_as_float32_can_be(variant: Variant) -> None:
    model, x = FDIKP(variant), smallest(variant)
    with torch.no_grad():
        single = model(x)[-1]
        double = model.double()(x.double())[-1]
    assert double.dtype == torch.float64
    assert (single - double).abs().max() < 5e-6


def test_each_sample_of_a_batch_is_independent() -> None:
    model, x = FDIKP(BASE).double(), torch.rand(2, 3, 64, 32, dtype=torch.float64)
    with torch.no_grad():
        together = model(x)[-1]
        apart = torch.cat([model(x[:1])[-1], model(x[1:])[-1]])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-12)


def test_scales_are_chained_through_the_estimate_and_the_memory() -> None:
    model, x = FDIKP(BASE).double(), torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        half = torch.nn.functional.avg_pool2d(x, 2)
        quarter = torch.nn.functional.avg_pool2d(half, 2)
        y4, state = model.step(quarter, quarter, model.initial_state(quarter))
        y2, state = model.step(half, resize(y4, 2), (resize(state[0], 2), resize(state[1], 2)))
        y1, _ = model.step(x, resize(y2, 2), (resize(state[0], 2), resize(state[1], 2)))
        forgetful, _ = model.step(x, resize(y2, 2), model.initial_state(x))
        for expected, output in zip((y4, y2, y1), model(x), strict=True):
            torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    assert (forgetful - y1).abs().max() > 1e-4


VALID = [(TINY, 256, 384), (SMALL, 384, 256), (BASE, 32, 32), (BASE, 32, 96), (BASE, 160, 64)]
INVALID = [
    (TINY, 128, 256),
    (TINY, 256, 320),
    (SMALL, 128, 128),
    (SMALL, 320, 256),
    (BASE, 48, 64),
    (BASE, 64, 16),
]


@pytest.mark.parametrize(("variant", "h", "w"), VALID, ids=lambda v: getattr(v, "name", None))
def test_declared_sizes_run(variant: Variant, h: int, w: int) -> None:
    variant.size.check(h, w)
    with torch.no_grad():
        assert FDIKP(variant)(torch.rand(1, 3, h, w))[-1].shape == (1, 3, h, w)


@pytest.mark.parametrize(("variant", "h", "w"), INVALID, ids=lambda v: getattr(v, "name", None))
def test_other_sizes_are_refused_and_really_would_not_run(variant: Variant, h: int, w: int) -> None:
    x = torch.rand(1, 3, h, w)
    with pytest.raises(SizeError, match=f"{h}x{w}.*Nearest valid sizes"):
        FDIKP(variant)(x)
    unchecked = FDIKP(replace(variant, size=SizeRequirements(1, 1)))
    with torch.no_grad(), pytest.raises(RuntimeError):
        unchecked(x)


@pytest.mark.parametrize("shape", [(3, 256, 256), (1, 4, 256, 256), (1, 256, 256, 3)])
def test_what_is_not_an_image_batch_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SizeError, match="image batch"):
        FDIKP(TINY)(torch.rand(shape))


def test_unknown_variant() -> None:
    with pytest.raises(UnknownNameError, match="'huge'; there are: tiny, small, base"):
        get_variant("huge")


@ALL
def test_traces_to_a_static_program_that_computes_the_same(variant: Variant) -> None:
    model, x = FDIKP(variant).eval(), smallest(variant)
    program = torch.export.export(model, (x,)).run_decompositions({})
    assert all(
        isinstance(s, int) for n in program.graph.nodes if "val" in n.meta for s in _shape(n.meta["val"])
    )
    other = torch.rand_like(x)
    with torch.no_grad():
        for output, expected in zip(program.module()(other), model(other), strict=True):
            torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)


def _shape(value: object) -> tuple[object, ...]:
    return tuple(value.shape) if isinstance(value, torch.Tensor) else ()
