"""Whether a rewritten model computes what the original does, by running both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ....runtime.errors import BadInputError, TargetUnavailableError
from .ports import inputs_of, noise
from .reference import OnnxReference, open_runtime

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]

RUNTIME = "the original in ONNX Runtime, float32"
EVALUATOR = "the original in ONNX's reference evaluator, float64"

LIMITS: Mapping[str, float] = {RUNTIME: 1e-3, EVALUATOR: 1e-4}
"""Largest error, relative to the largest value of the output. ONNX Runtime's own transforms are off by up to
1e-4 where their length is no power of two."""


@dataclass(frozen=True)
class RewriteCheck:
    """What came of it: ``errors`` maps each judge that ran to the largest relative error over all outputs."""

    state: Literal["verified", "failed", "unverified"]
    reason: str
    errors: Mapping[str, float]


def check_rewriting(
    original: onnx.ModelProto, plain: onnx.ModelProto, feeds: Mapping[str, Array] | None = None
) -> RewriteCheck:
    """Run the rewritten model in ONNX Runtime, and the original wherever it runs here.

    Verified: some judge ran, and each that did agrees within :data:`LIMITS`. ``None``: the inputs are noise.
    """
    rewritten = open_runtime(plain)
    if isinstance(rewritten, str):
        return RewriteCheck("unverified", f"the rewritten file: {rewritten}", {})
    reference = OnnxReference(original)
    reasons, errors = [], {}
    try:
        given = noise(inputs_of(original)) if feeds is None else feeds
        result = rewritten(given)
    except (BadInputError, TargetUnavailableError) as error:
        return RewriteCheck("unverified", f"the rewritten file: {error}", {})
    if reference.runtime_problem:
        reasons.append(f"the original: {reference.runtime_problem}")
    else:
        try:
            errors[RUNTIME] = _largest(result, reference(given))
        except TargetUnavailableError as error:
            reasons.append(f"the original: {error}")
    try:
        errors[EVALUATOR] = _largest(result, reference.evaluate(given))
    except TargetUnavailableError as error:
        reasons.append(f"the original: {error}")
    wrong = [f"{judge}: {error:.1e}" for judge, error in errors.items() if not error <= LIMITS[judge]]
    if wrong:
        return RewriteCheck("failed", f"differs from {'; '.join(wrong)}", errors)
    return RewriteCheck("verified" if errors else "unverified", "; ".join(reasons), errors)


def _largest(result: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    return max((relative_error(result[name], right) for name, right in expected.items()), default=0.0)


def relative_error(result: Array, expected: Array) -> float:
    """Return the largest difference by the largest magnitude of what is expected; infinite for other shapes.

    NaN and infinity are equal to themselves in the same places.
    """
    if result.shape != expected.shape:
        return float("inf")
    if not result.size:
        return 0.0
    if result.dtype.kind not in "fiub":
        return 0.0 if bool(np.all(result == expected)) else float("inf")
    a, b = result.astype(np.float64), expected.astype(np.float64)
    usual = np.isfinite(b)
    if not np.array_equal(np.where(usual, 0.0, a), np.where(usual, 0.0, b), equal_nan=True):
        return float("inf")
    if not usual.any():
        return 0.0
    difference = float(np.abs(a[usual] - b[usual]).max())
    peak = float(np.abs(b[usual]).max())
    return difference / peak if peak else difference
