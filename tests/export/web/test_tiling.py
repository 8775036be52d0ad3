"""The page cuts and weighs tiles as Python does: the same numbers from tiling.js, in a real browser."""

from __future__ import annotations

import random
from typing import Any

from fdikp_edge.runtime.tiles.tiling import Axis, Tiling, _mirror

_PLANS = """async (cases) => {
  const { planAxis, scaledAxis, weights, mirrored, tilingOf } = await import("./tiling.js");
  return cases.map(([length, tile, halo, border, align, scale]) => {
    const axis = planAxis(length, tile, { halo, border, align });
    const scaled = scaledAxis(axis, scale);
    return {
      starts: axis.starts,
      scaled: scaled.starts,
      ramps: scaled.ramps,
      weights: scaled.starts.map((_, i) => Array.from(weights(scaled, i))),
      mirror: Array.from(mirrored(axis.starts[0], tile, length)),
      tiling: Object.values(tilingOf([tile, tile + 8])),
    };
  });
}"""


def cases(count: int) -> list[list[int]]:
    order = random.Random(7)
    chosen = []
    while len(chosen) < count:
        tile, align = order.randint(1, 200), order.choice([1, 2, 8, 32])
        most = max((tile - align) // 2, 0)
        if align > tile:
            continue
        halo, border = order.randint(0, most), order.randint(0, tile - align)
        chosen.append([order.randint(1, 700), tile, halo, border, align, order.randint(1, 3)])
    return chosen


def test_every_number_is_that_of_python(page: Any) -> None:
    chosen = cases(60)
    for case, js in zip(chosen, page.evaluate(_PLANS, chosen), strict=True):
        length, tile, halo, border, align, scale = case
        axis = Axis.plan(length, tile, halo, border, align)
        scaled = axis.scaled(scale)
        assert js["starts"] == list(axis.starts), case
        assert js["scaled"] == list(scaled.starts), case
        assert js["ramps"] == list(scaled.ramps), case
        expected = [scaled.weights(i).tolist() for i in range(len(scaled.starts))]
        assert js["weights"] == expected, case
        assert js["mirror"] == _mirror(axis.starts[0], tile, length).tolist(), case
        tiling = Tiling.of((tile, tile + 8))
        assert js["tiling"] == [tiling.halo, tiling.border, tiling.align], case
