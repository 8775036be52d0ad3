"""The search for the worst parts, on losses that add up exactly, so that the right answer is known."""

from __future__ import annotations

import math
from collections.abc import Collection

import pytest
from fdikp_edge.calibration.worst_parts import MOST, Trials, grouped, worst_parts
from hypothesis import given
from hypothesis import strategies as st

PATHS = st.lists(
    st.lists(st.sampled_from("abcde"), min_size=0, max_size=4).map(".".join),
    unique=True,
    min_size=1,
    max_size=80,
)


class Energies:
    """Each part has one node and an energy of error; counts how often it is asked."""

    def __init__(self, energies: dict[str, float]) -> None:
        self.energies = energies
        self.runs = 0
        self.messages: list[str] = []

    def psnr(self, nodes: Collection[str]) -> float:
        self.runs += 1
        energy = sum(self.energies[node] for node in nodes)
        return 200.0 if energy <= 0 else min(200.0, -10 * math.log10(energy))

    def search(self, wanted: float) -> dict[str, float]:
        def without(nodes: Collection[str]) -> float:
            return self.psnr([name for name in self.energies if name not in nodes])

        parts = {name: {name} for name in self.energies}
        return worst_parts(parts, Trials(self.psnr, without, wanted), self.messages.append)


@given(PATHS, st.integers(1, 40))
def test_groups_are_few_and_hold_every_part_once(paths: list[str], most: int) -> None:
    groups = grouped(paths, most)
    assert len(groups) <= most
    assert sorted(path for group in groups.values() for path in group) == sorted(paths)


@given(st.lists(st.floats(1e-9, 1e-3), min_size=1, max_size=MOST), st.floats(20, 90))
def test_few_parts_are_the_fewest_that_are_enough(energies: list[float], wanted: float) -> None:
    given_energies = {f"m{index}": energy for index, energy in enumerate(energies)}
    kept = Energies(given_energies).search(wanted)
    ranking = sorted(energies, reverse=True)
    enough = (
        count
        for count in range(1, len(ranking) + 1)
        if sum(ranking[count:]) <= 0 or -10 * math.log10(sum(ranking[count:])) >= wanted
    )
    assert len(kept) == next(enough, len(ranking))
    assert sorted((given_energies[name] for name in kept), reverse=True) == ranking[: len(kept)]


@given(st.data(), st.integers(17, 600), st.floats(20, 90))
def test_many_parts_take_few_runs_and_are_enough(data: st.DataObject, count: int, wanted: float) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=8))
    energies = {f"blocks.{i // 7}.conv{i % 7}": (1e-3 if i in bad else 1e-12) for i in range(count)}
    trials = Energies(energies)
    kept = trials.search(wanted)
    assert trials.runs <= 2 * (MOST + 1 + math.log2(count))
    assert len(trials.messages) == trials.runs
    left = sum(energy for name, energy in energies.items() if name not in kept)
    assert -10 * math.log10(max(left, 1e-20)) >= wanted or len(kept) == count


def test_one_bad_module_of_many_is_kept_alone() -> None:
    energies = {f"blocks.{i // 10}.conv{i % 10}": 1e-12 for i in range(150)} | {"blocks.7.conv3": 1e-3}
    kept = Energies(energies).search(60)
    assert kept == {"blocks.7.conv3": pytest.approx(30.0)}
