"""A plan is obeyed, or refused in words; what it and the audit say is what the program does."""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from fdikp_edge.export.profile import DEFAULT
from fdikp_edge.export.spectral import LoweredProgram, lower
from fdikp_edge.export.spectral.planner import choose, follow, make_plan, profile
from fdikp_edge.export.spectral.rules import COMPLEX_RULES, shape
from fdikp_edge.export.spectral.sites import describe
from fdikp_edge.export.spectral.strategies import STRATEGIES
from fdikp_edge.models.fdikp.blocks import FourierUnit, WindowedFourierUnit
from fdikp_edge.runtime.errors import BadInputError, LoweringError, UnknownNameError
from hypothesis import given, settings
from hypothesis import strategies as st
from spectral_networks import NETWORKS
from torch import Tensor, nn
from torch.fx import Node
from torch.utils.flop_counter import FlopCounterMode

WINDOWS = torch.randn(1, 4, 16, 24, generator=torch.Generator().manual_seed(1))


def unit() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WindowedFourierUnit(4).eval()


def strategies(lowered: LoweredProgram) -> list[str]:
    return [choice.strategy for choice in lowered.plan.choices]


CHOSEN = {"windows", "map", "fno1d", "fnet", "framed_filter", "middle_axis"}


@cache
def chosen(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    if name == "windows":
        return nn.Sequential(OrderedDict(fourier=unit())).eval(), (WINDOWS,)
    if name == "map":
        return FourierUnit(3).eval(), (WINDOWS[:, :3],)
    network = next(n for n in NETWORKS if n.name == name)
    return network.build(), network.inputs()


@cache
def usually(name: str, target: str | None) -> LoweredProgram:
    network, inputs = chosen(name)
    return lower(network, inputs, target=target)


def products(lowered: LoweredProgram) -> dict[str, int]:
    """Multiply-adds by site, counted at the operators as they run: independent of the plan and the audit."""
    counted: dict[str, int] = {}

    class Counting(torch.fx.Interpreter):
        def run_node(self, n: Node) -> Any:
            site = n.meta.get("custom", {}).get("site")
            if site is None:
                return super().run_node(n)
            with FlopCounterMode(display=False) as flops:
                result = super().run_node(n)
            counted[site] = counted.get(site, 0) + flops.get_total_flops() // 2
            return result

    program = lowered.program
    values = {**program.state_dict, **program.constants}
    inputs = [
        torch.zeros(tuple(node.meta["val"].shape), dtype=node.meta["val"].dtype)
        if spec.target is None
        else values[spec.target]
        for node, spec in zip(
            [n for n in program.graph.nodes if n.op == "placeholder"],
            program.graph_signature.input_specs,
            strict=True,
        )
    ]
    with torch.no_grad():
        Counting(program.graph_module).run(*inputs)
    return counted


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"*fourier*": "separable"}, ["separable", "separable"]),
        ({"*": "separable", "*fourier": "flat"}, ["flat", "flat"]),
        ({"fft_rfft2": "flat", "fft_irfft2": "separable"}, ["flat", "separable"]),
    ],
)
@pytest.mark.parametrize("target", [None, "openvino"])
def test_a_block_of_windows_obeys_an_override(
    plan: Mapping[str, str], expected: list[str], target: str | None
) -> None:
    network, _ = chosen("windows")
    usual = usually("windows", target)
    assert strategies(usual) == ["window", "window"]
    asked = lower(network, (WINDOWS,), target=target, plan=plan)
    assert strategies(asked) == expected
    assert asked.sha256 != usual.sha256
    assert [row.strategy for row in asked.audit.rows] == expected
    torch.testing.assert_close(asked.program.module()(WINDOWS), network(WINDOWS), atol=1e-5, rtol=1e-4)


def test_native_is_claimed_where_it_is_and_nowhere_else() -> None:
    network = unit()
    native = lower(network, (WINDOWS,), plan={"*": "native"})
    kept = [name for name in native.audit.operators if "fft" in name]
    assert native.audit.native_sites == sum(native.audit.operators[name] for name in kept) == 2
    one = lower(network, (WINDOWS,), plan={"fft_irfft2": "native"})
    assert one.audit.native_sites == 1
    assert [name for name in one.audit.operators if "fft" in name] == ["aten.fft_irfftn.default"]
    # The profile may pick it by itself, which must not claim it for a block that was fused.
    for target in ("tensorrt-native", "tensorrt-plugin"):
        own = lower(network, (WINDOWS,), target=target)
        assert strategies(own) == ["window", "window"]
        assert own.audit.native_sites == 0 and not [n for n in own.audit.operators if "fft" in n]


def test_the_other_end_of_a_block_follows_or_is_refused() -> None:
    lowered = lower(unit(), (WINDOWS,), plan={"fft_rfft2": "separable"})
    forward, inverse = lowered.plan.choices
    assert forward.strategy == "separable" and inverse.strategy != "window"
    assert "fft_rfft2" in inverse.declined["window"] and "separable" in inverse.declined["window"]
    with pytest.raises(LoweringError, match=r"'window' cannot compute fft_irfft2.*fft_rfft2.*separable"):
        lower(unit(), (WINDOWS,), plan={"fft_rfft2": "separable", "fft_irfft2": "window"})


def test_a_strategy_asked_for_by_name_is_taken_or_refused_with_the_reason() -> None:
    same = lower(unit(), (WINDOWS,), plan={"*": "window"})
    assert same.sha256 == lower(unit(), (WINDOWS,)).sha256

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x) * 2, s=x.shape[-2:])

    with pytest.raises(LoweringError, match=r"'window' cannot compute fft_rfft2.*partition into windows"):
        lower(Plain().eval(), (WINDOWS,), plan={"fft_rfft2": "window"})
    with pytest.raises(LoweringError, match=r"'factored' cannot compute fft_rfft2"):
        lower(unit(), (WINDOWS,), plan={"*": "factored"})
    with pytest.raises(UnknownNameError, match=r"nowhere.*fft_rfft2"):
        lower(unit(), (WINDOWS,), plan={"nowhere": "flat"})
    with pytest.raises(UnknownNameError, match=r"nonesuch.*window"):
        lower(unit(), (WINDOWS,), plan={"*": "nonesuch"})


def test_a_map_is_left_in_its_layout_where_the_strategy_asked_for_needs_it() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = FourierUnit(3).eval()
    x = torch.randn(1, 3, 12, 16, generator=torch.Generator().manual_seed(2))
    usual = lower(network, (x,), target="openvino")
    names = [choice.site.name for choice in usual.plan.choices]
    assert names == [choice.site.name for choice in lower(network, (x,)).plan.choices]
    assert usual.plan.choices[0].site.input_shape == (1, 12, 16, 3)  # with channels as the fastest index
    for name in ("flat", "custom-op"):
        asked = lower(network, (x,), target="openvino", plan={"*": name})
        assert set(strategies(asked)) == {name}
        assert asked.plan.choices[0].site.input_shape == (1, 3, 12, 16)
        (record,) = [r for r in asked.audit.fusions if r.pattern == "map"]
        assert record.declined is not None and name in record.declined and "last" in record.declined
        torch.testing.assert_close(asked.program.module()(x), network(x), atol=1e-5, rtol=1e-4)


@settings(max_examples=8)
@given(st.data())
def test_the_audit_counts_what_the_program_multiplies(data: st.DataObject) -> None:
    """Networks and overrides at random; the truth is torch's own counter, run on the lowered program."""
    name = data.draw(st.sampled_from(sorted(CHOSEN)), label="network")
    target = data.draw(st.sampled_from([None, "openvino", "tensorrt-native"]), label="target")
    network, inputs = chosen(name)
    plan: dict[str, str] = {}
    for choice in usually(name, target).plan.choices:
        able = [n for n, s in STRATEGIES.items() if s.declines(choice.site) is None and n != "window"]
        if data.draw(st.booleans(), label=f"override {choice.site.name}"):
            plan[choice.site.name] = data.draw(st.sampled_from(able), label=choice.site.name)
    lowered = lower(network, inputs, target=target, plan=plan)
    assert {c.site.name: c.strategy for c in lowered.plan.choices}.items() >= plan.items()
    counted = products(lowered)
    for row in lowered.audit.rows:
        if row.strategy != "custom-op":  # a kernel's work, which torch computes by the definition
            assert row.multiply_adds == counted.get(row.site.name, 0), row.site.name
    assert sum(row.strategy == "native" for row in lowered.audit.rows) == lowered.audit.native_sites


@pytest.mark.parametrize("name", ["flat", "separable", "factored", "window"])
def test_what_the_planner_counts_with_is_what_the_program_multiplies(name: str) -> None:
    """The cost model's multiply-adds, where everything that is computed is read."""

    class Both(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            z = torch.fft.rfft2(x)
            z = torch.fft.ifft2(torch.fft.fft2(torch.complex(z.real, z.imag * 2)))
            return torch.fft.irfft2(torch.complex(z.real, z.imag), s=x.shape[-2:])

    size = (98, 90) if name == "factored" else (12, 10)
    network, x = (unit(), WINDOWS) if name == "window" else (Both().eval(), torch.randn(2, 3, *size))
    lowered = lower(network, (x,), plan={"*": name})
    for row in lowered.audit.rows:
        assert row.multiply_adds == STRATEGIES[name].cost(row.site).macs > 0


def test_products_that_nothing_reads_are_not_counted() -> None:
    class Phase(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x).real

    (row,) = lower(Phase().eval(), (torch.randn(4, 16),), plan={"*": "separable"}).audit.rows
    assert row.multiply_adds == 4 * 16 * 9  # the cosines; no sines


def test_reasons_are_in_the_plan_and_in_the_audit() -> None:
    class Overlapping(WindowedFourierUnit):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + torch.fft.rfft2(x).abs().mean()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        lowered = lower(Overlapping(4).eval(), (WINDOWS,), target="coreml")
    rows = {row["site"]: row for row in json.loads(json.dumps(lowered.plan.to_json()))}
    plain = next(row for row in rows.values() if row["strategy"] != "window")
    assert "partition into windows" in plain["declined"]["window"]
    fusions = json.loads(json.dumps(lowered.audit.to_json()))["fusions"]
    left = {(entry["pattern"], entry["declined"]): entry["nodes"] for entry in fusions}
    assert left["window", plain["declined"]["window"]] == [plain["site"]]
    assert left["window", None] == [name for name in rows if name != plain["site"] and "irfft" not in name]


def test_targets_without_a_profile_are_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match=r"'onxn'.*onnx.*openvino"):
        lower(unit(), (WINDOWS,), target="onxn")
    with pytest.raises(UnknownNameError, match="onxn"):
        make_plan([], "onxn", None)
    with pytest.raises(UnknownNameError):
        profile("")
    assert profile(None) is profile("default") is DEFAULT


@pytest.mark.parametrize("length", [5, 127, 2 * 127])
def test_a_profile_whose_strategies_all_decline_is_a_typed_error(length: int) -> None:
    site = describe("fft", "net.block", "aten.fft_rfft.default", (3, length), True, (None, -1, None))
    for automatic, reason in (("factored",), "split"), (("native", "window"), "block of windows"):
        rates = dataclasses.replace(DEFAULT, name="outside", automatic=automatic)
        with pytest.raises(LoweringError, match=rf"outside.*fft in net\.block.*{reason}.*separable"):
            choose([site], rates, {})
        assert choose([site], rates, {"*": "separable"})[0].strategy == "separable"
    rates = dataclasses.replace(DEFAULT, name="outside", automatic=("separable", "nonesuch"))
    with pytest.raises(UnknownNameError, match=r"outside.*nonesuch.*separable"):
        choose([site], rates, {})


def test_every_row_of_the_target_table_has_a_profile_of_its_own() -> None:
    from fdikp_edge.export.targets import TARGETS

    for target in TARGETS.values():
        assert {target.costs} <= set(target.all_profiles) and DEFAULT not in target.all_profiles
        assert all(profile(own.name) == own for own in target.all_profiles), target.name
    gpu = profile("tensorrt")
    assert gpu.macs_per_us > 10 * DEFAULT.macs_per_us and "native" not in gpu.automatic


def test_a_recorded_plan_is_followed() -> None:
    for plan in (None, {"fft_rfft2": "separable"}):
        first = lower(unit(), (WINDOWS,), plan=plan)
        again = lower(unit(), (WINDOWS,), plan=follow(json.loads(json.dumps(first.plan.to_json()))))
        assert again.sha256 == first.sha256


def test_a_plan_recorded_before_blocks_had_a_strategy_gives_the_same_program() -> None:
    """Rows as older passports have them: the rewritten node's name, and a strategy that it did not follow."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fourier, self.map = unit(), FourierUnit(4).eval()

        def forward(self, x: Tensor) -> Tensor:
            return self.map(self.fourier(x))

    network = Named().eval()
    old = [
        {"site": "window_transform", "module": "fourier", "strategy": "separable"},
        {"site": "window_transform_1", "module": "fourier", "strategy": "flat"},
        {"site": "fft_rfft2_default", "module": "map", "strategy": "separable"},
        {"site": "fft_irfft2_default", "module": "map", "strategy": "separable"},
    ]
    again = lower(network, (WINDOWS,), target="openvino", plan=follow(old))
    assert strategies(again) == ["window", "window", "separable", "separable"]
    assert again.plan.choices[2].site.input_shape == (1, 16, 24, 4)
    for rows in ([{}], [old[0], old[0]], [{"site": "a", "module": "b", "strategy": 3}]):
        with pytest.raises(BadInputError, match="plan"):
            follow(rows)


def test_no_operator_has_two_rules() -> None:
    """Running a file of rules a second time registers each of its rules twice, the first one first."""
    source = Path(shape.__file__).read_text(encoding="utf-8")
    first = next(iter(shape.COMPONENTWISE))
    with pytest.raises(ValueError, match=f"two rules for {first}"):
        exec(compile(source, shape.__file__, "exec"), {"__name__": shape.__name__})
    assert COMPLEX_RULES[first] is shape.componentwise
