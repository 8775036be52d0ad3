"""What a processor can compute in 8 bits, from what Linux says of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fdikp_edge.runtime import processor
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.sessions import open_session
from runtime_networks import TARGETS

EPYC_7003 = "fpu sse2 ssse3 fma avx avx2 sha_ni vaes"
CASCADE_LAKE = "fpu sse2 avx2 avx512f avx512bw avx512_vnni"
ALDER_LAKE = "fpu sse2 avx2 avx_vnni"
SKYLAKE_X = "fpu sse2 avx2 avx512f avx512bw"
CORTEX_A72 = "fp asimd evtstrm crc32"
CORTEX_A78 = "fp asimd evtstrm crc32 asimddp"

SATURATING = {"flags": EPYC_7003}
EXACT = {"flags": CASCADE_LAKE}


@pytest.mark.parametrize(
    ("facts", "dot_product", "saturates"),
    [
        (SATURATING, False, True),
        ({"flags": SKYLAKE_X}, False, True),
        (EXACT, True, False),
        ({"flags": ALDER_LAKE}, True, False),
        ({"Features": CORTEX_A72}, False, False),
        ({"Features": CORTEX_A78}, True, False),
        ({}, None, False),
        ({"flags": "something else"}, None, False),
    ],
)
def test_dot_product_and_saturation(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, str], dot_product: bool | None, saturates: bool
) -> None:
    monkeypatch.setattr(processor, "facts", lambda: facts)
    assert processor.has_dot_product() is dot_product
    assert processor.saturates() is saturates


@pytest.mark.parametrize("target", TARGETS)
def test_a_session_remarks_that_its_sums_saturate_here(
    monkeypatch: pytest.MonkeyPatch, make_artifact: Callable[..., Artifact], target: str
) -> None:
    full, reduced = {"int8 layers": 3}, {"int8 layers": 3, "layers with 7-bit weights": 3}

    def remark(census: dict[str, int], facts: dict[str, str]) -> str:
        monkeypatch.setattr(processor, "facts", lambda: facts)
        artifact = make_artifact(target=target, precision="int8", precision_census=census)
        with open_session(artifact, threads=1) as session:
            assert np.isfinite(session.run(np.zeros(session.input.shape, np.float32))).all()
            return session.remark

    assert f"--target {target}:weights=7bit" in remark(full, SATURATING)
    assert "VNNI" in remark(full, SATURATING)
    assert remark(full, EXACT) == ""
    assert remark(reduced, SATURATING) == ""
    assert "no layer computes in 8 bits" in remark({"int8 layers": 0}, EXACT)
    assert remark({"float": 3}, SATURATING) == ""  # nothing in it computes in 8 bits
