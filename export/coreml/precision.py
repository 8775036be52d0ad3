"""Where a float16 program stays in float32, and how this is passed to coremltools.

The audit of the lowering says for every transform up to which input it can never overflow float16
(``fp16_input_limit``). Here the inputs are measured on the sample photographs: a module whose transform is
fed more than half of its limit stays in float32 as a whole, as does one that makes a value of a quarter of
float16's range.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

from ...runtime.images import read_photo
from ...runtime.pixels import crop
from ...runtime.samples import sample_photos
from ..contracts import tensor_contracts
from ..spectral.audit import FP16_MAX
from .prepare import Prepared, module_of

if TYPE_CHECKING:
    from ..spectral import LoweredProgram

MARGIN = 2.0
"""How much larger than on the samples an input may be before the certificate no longer holds."""
PEAK = FP16_MAX / 4


def islands(lowered: LoweredProgram, prepared: Prepared) -> dict[str, str]:
    """Return module path -> why it stays in float32."""
    fed, made = measure(lowered, prepared.images)
    found = {}
    for row in lowered.audit.rows:
        path = row.site.module_path
        if MARGIN * fed.get(path, 0.0) > row.fp16_input_limit:
            found[path] = (
                f"its transform is safe up to {row.fp16_input_limit:.0f}, its inputs reach {fed[path]:.0f}"
            )
    for path, peak in made.items():
        if peak > PEAK and path not in found:
            found[path] = f"produces values up to {peak:.0f}"
    return found


def measure(lowered: LoweredProgram, images: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Return (largest value each module is fed from outside, largest it makes) over the sample
    photographs."""
    shape = next(
        tuple(node.meta["val"].shape)
        for node in lowered.program.graph.nodes
        if node.name == lowered.program.graph_signature.user_inputs[0]
    )
    height, width = (shape[1:3] if images else shape[2:]) if len(shape) == 4 else (0, 0)
    if not height or (shape[3] if images else shape[1]) != 3:
        return {}, {}  # no photograph fits: the audit's own figures are all there is
    source, _ = tensor_contracts("uint8_nhwc" if images else "float_nchw", height, width)
    watcher = _Peaks(lowered.program.module())
    with torch.no_grad():
        for path in sample_photos():
            watcher.run(torch.from_numpy(crop(read_photo(path), source)))
    return watcher.fed, watcher.made


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
        self.made: dict[str, float] = {}
        self._peaks: dict[fx.Node, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node and note what it was fed and what it made."""
        result: Any = super().run_node(n)
        if n.op == "get_attr" or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        peak = float(result.abs().max()) if result.numel() else 0.0
        path = module_of(n)
        self._peaks[n] = peak
        self.made[path] = max(self.made.get(path, 0.0), peak)
        for source in n.all_input_nodes:
            if source in self._peaks and module_of(source) != path:
                self.fed[path] = max(self.fed.get(path, 0.0), self._peaks[source])
        return result
