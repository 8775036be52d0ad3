"""Where a float16 program stays in float32, and how this is passed to coremltools.

The audit of the lowering says for every transform up to which input it can never overflow float16
(``fp16_input_limit``). Here the inputs are measured on the program's samples
(:attr:`..spectral.LoweredProgram.samples`); with a calibration table, what its photos fed the
transforms counts too. A module whose transform is fed more than half of its limit stays in float32 as a
whole, as does one that makes a value of a quarter of float16's range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from ...calibration.layers import module_of
from ..spectral.audit import FP16_MAX
from .prepare import Prepared

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

MARGIN = 2.0
"""How much larger than on the samples an input may be before the certificate no longer holds."""
PEAK = FP16_MAX / 4


def islands(lowered: LoweredProgram, table: CalibrationTable | None = None) -> dict[str, str]:
    """Return module path -> why it stays in float32.

    Raises:
        CalibrationError: the table is of another program or profile.
    """
    fed, peaks = measure(lowered)
    if table is not None:
        for certificate in table.section(lowered.key).half.certificates:
            path = certificate.module
            fed[path] = max(fed.get(path, 0.0), certificate.input_peak)
            peaks[path] = max(peaks.get(path, 0.0), certificate.peak)
    reasons = {}
    for row in lowered.audit.rows:
        path = row.site.module_path
        if MARGIN * fed.get(path, 0.0) > row.fp16_input_limit:
            reasons[path] = (
                f"its transform is safe up to {row.fp16_input_limit:.0f}, its inputs reach {fed[path]:.0f}"
            )
    for path, peak in peaks.items():
        if peak > PEAK and path not in reasons:
            reasons[path] = f"produces values up to {peak:.0f}"
    return reasons


def measure(lowered: LoweredProgram) -> tuple[dict[str, float], dict[str, float]]:
    """Return (largest value each module is fed from outside, largest it makes) over the program's samples."""
    watcher = _Peaks(lowered.program.module())
    with torch.no_grad():
        for sample in lowered.samples():
            watcher.run(*sample)
    return watcher.fed, watcher.produced


def operation_selector(prepared: Prepared, kept: Mapping[str, str]) -> Callable[[Any], bool]:
    """Return coremltools' question: may this operation compute in float16?"""
    from coremltools.converters.mil.mil.scope import ScopeSource

    def may(operation: Any) -> bool:
        handles = operation.scopes.get(ScopeSource.EXIR_DEBUG_HANDLE) or []
        for handle in handles:
            path = prepared.modules.get(handle) if handle is not None else None
            if path is not None and any(path == own or path.startswith(f"{own}.") for own in kept):
                return False
        return True

    return may


class _Peaks(fx.Interpreter):
    """Runs a program and keeps the largest magnitudes by module."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.fed: dict[str, float] = {}
        self.produced: dict[str, float] = {}
        self._peaks: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node and note what it was fed and what it made."""
        result: Any = super().run_node(n)
        if n.op == "get_attr" or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        peak = float(result.abs().max()) if result.numel() else 0.0
        path = module_of(n)
        self._peaks[n] = peak
        self.produced[path] = max(self.produced.get(path, 0.0), peak)
        for source in n.all_input_nodes:
            if source in self._peaks and module_of(source) != path:
                self.fed[path] = max(self.fed.get(path, 0.0), self._peaks[source])
        return result
