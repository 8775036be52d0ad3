"""The search of a bisection: probes that halve the way between two cuts, and what is told of the place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...runtime.errors import CheckFailedError, FdikpEdgeError
from ...runtime.photo import Array
from ...runtime.pixels import psnr_db
from ...runtime.progress import Progress
from ...runtime.tensors import TensorContract
from .budgets import Budget
from .first_departure import NOT_FINITE_DB, Error, FirstDeparture
from .parity import as_picture
from .tensor import distance

if TYPE_CHECKING:
    from ...export.cutting.partition import Cut, Partition


def as_result(output: Array, contract: TensorContract, whose: str) -> Array:
    """Return a result as a picture, or as it is where it is no picture.

    Raises:
        CheckFailedError: it is not finite.
    """
    if contract.has_colors:
        return as_picture(output, contract, whose)
    if not np.isfinite(output).all():
        raise CheckFailedError(f"the result of {whose} holds NaN or infinite values")
    return output


def error_of(output: Array, expected: Array, contract: TensorContract) -> Error:
    """Measure a result against what :func:`as_result` returned of the reference."""
    try:
        result = as_result(output, contract, "the artifact")
    except CheckFailedError:
        return Error(math.inf, NOT_FINITE_DB)
    if not contract.has_colors:
        far = distance(result, expected)
        return Error(far.max_rel, far.snr_db)
    return Error(float(np.abs(result - expected).max()), psnr_db(result, expected))


@dataclass
class Search:
    """Follows one result of a program; ``x`` holds all inputs by the names of the program's nodes."""

    partition: Partition
    contract: TensorContract
    budget: Budget
    say: Progress
    probes: int = 0
    expected_probes: int = 1

    def run(
        self, x: Mapping[str, Array], expected: Array, modules: Sequence[Cut], whole: Error
    ) -> FirstDeparture:
        """Search the modules, then the nodes of the one found."""
        from ...export.roles import is_layer, module_of

        self.expected_probes = 2 + math.ceil(math.log2(max(2, len(modules)))) + 3
        nothing = self.error(self.believed(x), expected)
        low, high, before, after = self.halve(x, expected, modules, nothing, whole)
        paths = tuple(dict.fromkeys(module_of(node) for node in self.partition.between(low, high)))
        low, high, before, after = self.halve(x, expected, self.partition.node_cuts(low, high), before, after)
        nodes = self.partition.between(low, high)
        start, everything = modules[0], modules[-1]
        self.say(self.probes, self.expected_probes, "repairing the module")
        right = self.partition.believed(x, low)
        alone = self.partition.believed(self.model(right, low, high), everything)
        reached = self.model(x, start, low)
        repaired = self.model(self.partition.believed(reached, high), high, everything)
        working = [node for node in nodes if node.op == "call_function"]
        told = [precision for node in working if (precision := self.partition.precision(node))]
        # Of operators that share a value, a layer rather than the copies around it.
        main = next((node for node in working if is_layer(node)), working[0])
        departure = FirstDeparture(
            module=module_of(main),
            modules=paths,
            operator=", ".join(dict.fromkeys(str(node.target) for node in working)),
            nodes=tuple(node.name for node in nodes),
            precision=", ".join(dict.fromkeys(told)) or "not known",
            site=str(main.meta.get("custom", {}).get("site") or ""),
            before=before,
            after=after,
            alone=self.error(alone[self.partition.output], expected),
            repaired=self.error(repaired[self.partition.output], expected),
            suggestion="",
        )
        return dataclasses.replace(departure, suggestion=self.suggest(departure))

    def halve(
        self, x: Mapping[str, Array], expected: Array, cuts: Sequence[Cut], before: Error, after: Error
    ) -> tuple[Cut, Cut, Error, Error]:
        """Return two neighbouring cuts between which the error passes the budget, and both errors."""
        low, high = 0, len(cuts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            error = self.probe(x, expected, cuts[middle])
            if self.over(error):
                high, after = middle, error
            else:
                low, before = middle, error
        return cuts[low], cuts[high], before, after

    def probe(self, x: Mapping[str, Array], expected: Array, cut: Cut) -> Error:
        """Return the error with the artifact computing what is inside ``cut`` and the reference the rest."""
        self.say(self.probes, self.expected_probes, f"probe {self.probes + 1}: {len(cut.inside)} nodes")
        start, everything = self.ends
        reached = self.model(x, start, cut)
        result = self.partition.believed(reached, everything)
        return self.error(result[self.partition.output], expected)

    def model(self, given: Mapping[str, Array], before: Cut, after: Cut) -> dict[str, Array]:
        """Let the artifact compute; counts as a probe."""
        self.probes += 1
        try:
            return self.partition.model(given, before, after)
        except (FdikpEdgeError, MemoryError):
            raise
        except Exception as error:  # a runtime's own
            lines = str(error).strip().splitlines()
            raise CheckFailedError(
                f"a part of the model cannot be run by itself: {lines[0] if lines else type(error).__name__}"
            ) from error

    def whole(self, x: Mapping[str, Array], expected: Array) -> Error:
        """Return the error of the artifact."""
        start, everything = self.ends
        values = self.model(x, start, everything)
        return self.error(values[self.partition.output], expected)

    def believed(self, x: Mapping[str, Array]) -> Array:
        """Return the program's own result."""
        return self.partition.believed(x, self.ends[1])[self.partition.output]

    @property
    def ends(self) -> tuple[Cut, Cut]:
        """Nothing and everything."""
        return self.partition.ends

    def error(self, output: Array, expected: Array) -> Error:
        """Measure a result."""
        return error_of(output, expected, self.contract)

    def over(self, error: Error) -> bool:
        """Whether an error misses the budget."""
        return bool(self.budget.problems(error.max_abs, error.psnr_db))

    def suggest(self, departure: FirstDeparture) -> str:
        """Say what to try."""
        name = departure.module or "the root module"
        if not self.over(departure.alone):
            return (
                f"{name} alone is within the budget ({departure.alone}): errors add up until here; keep the "
                "layers before it with the largest errors in float32 (int8: `calibrate --max-drop-db`), or "
                "accept a larger difference with --max-abs"
            )
        calls = self.partition.modules.count(departure.module)
        again = ""
        if self.over(departure.repaired):
            again = " Repairing this module alone is not enough: " + (
                f"it is called {calls} times." if calls > 1 else "a later module is also wrong; bisect again."
            )
        if self.partition.against is not None:
            return f"{name} differs from the reference artifact: check what changed in it.{again}"
        if "int8" in departure.precision:
            return f"keep {name} in float, or calibrate with photos that cover its range.{again}"
        if "float16" in departure.precision:
            why = "it overflows" if not math.isfinite(departure.alone.max_abs) else "its error is too large"
            return f"keep {name} in float32: {why} in float16.{again}"
        strategy = f"; or try another strategy for its transform {departure.site}" if departure.site else ""
        return (
            f"rounding in {departure.precision} does not explain this: {name} in the file differs from the "
            "network, or this runtime computes it wrongly; export it again, or try another runtime version"
            f"{strategy}.{again}"
        )
