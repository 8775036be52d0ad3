"""`run` on arrays whose results are not numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.cli.commands.run import arrays
from fdikp_edge.runtime.sessions import base


def test_results_that_are_not_finite_are_named(
    cli: Any, make_artifact: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make_artifact(golden=0.5)
    np.savez(tmp_path / "x.npz", image=np.full((1, 3, 64, 64), 0.5, np.float32))
    fine = cli("run", "x.npz", "--artifact", artifact, "--out", "fine.npz", "--json")
    assert fine.returncode == 0, fine.stderr
    (row,) = json.loads(fine.stdout)["arrays"]
    assert "not_finite" not in row and "NaN" not in fine.stderr
    real = base.Session.run

    def broken(self: base.Session, x: Any) -> Any:
        results = {name: value.copy() for name, value in real(self, x).items()}
        for value in results.values():
            value[0, 0, 0, :3] = np.nan, np.inf, -np.inf
        return results

    monkeypatch.setattr(base.Session, "run", broken)
    done = cli("run", "x.npz", "--artifact", artifact, "--out", "y.npz", "--json")
    (row,) = json.loads(done.stdout)["arrays"]
    assert list(row["not_finite"].values()) == [3] and "3 values of" in done.stderr
    assert arrays._not_finite({"a": np.uint8([1]), "b": np.float32([])}) == {}
