"""Takes PyTorch's own operator samples through the lowering and holds each against eager PyTorch.

The samples are ``op_db`` of ``torch.testing._internal.common_methods_invocations``, which ships in the torch
wheel and needs ``expecttest`` (in the ``dev`` extra).
"""

from __future__ import annotations

import enum
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...runtime.errors import FdikpEdgeError, LoweringFaultError

TOLERANCE = 1e-4
"""Largest ``max|error| / max|value|`` of a right result; more only where eager float32 itself has more."""

LARGEST_VALUE = 1e18
"""Complex values above are not judged: the lowering squares them, and float32 ends at 3e38."""

BATCH = 24
"""Samples that are lowered as one program: preparing a trace takes longer than one operator of it."""

GROUPS = ("fft", "stft", "complex")
"""``torch.fft.*`` in float32 and complex64; ``stft`` and ``istft``; every other operator of complex64."""

PROFILES = ("onnx", "coreml")


class Verdict(enum.Enum):
    """What became of one sample."""

    RIGHT = "right"
    REFUSED = "refused"  # with a typed error
    WRONG = "wrong"
    CRASH = "crash"  # an error without a type of ours
    UNJUDGED = "not judged"  # random, no tensor, or PyTorch itself has no stable answer

    @property
    def is_fault(self) -> bool:
        """Whether it is a fault of the lowering."""
        return self in (Verdict.WRONG, Verdict.CRASH)


@dataclass(frozen=True)
class Sample:
    """One call of an operator: ``function(*args, **kwargs)``, ``inputs`` being the tensors among them."""

    operator: str
    dtype: str
    index: int
    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    rebuild: Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]

    def __call__(self, tensors: Sequence[Tensor]) -> list[Any]:
        """Call the operator with other tensors in the same places; returns the leaves of its result."""
        args, kwargs = self.rebuild(tensors)
        return pytree.tree_leaves(self.function(*args, **kwargs))


@dataclass(frozen=True)
class Judgement:
    """The verdict of one sample for one profile, with the reason where it is not ``RIGHT``."""

    operator: str
    dtype: str
    index: int
    profile: str
    verdict: Verdict
    detail: str = ""

    def __str__(self) -> str:
        """One line for a log."""
        return (
            f"{self.operator} {self.dtype} #{self.index} ({self.profile}): {self.verdict.value} {self.detail}"
        )


class SampleModule(nn.Module):
    """Samples as a network of real tensors: complex ones enter and leave with a last axis of 2."""

    def __init__(self, *samples: Sample) -> None:
        """Take the samples' functions and their arguments that are no tensors."""
        super().__init__()
        self._samples = samples

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The tensors of each result, in order."""
        remaining = iter(inputs)
        tensors: list[Tensor] = []
        for sample in self._samples:
            values = [
                torch.view_as_complex(value) if like.is_complex() else value
                for value, like in zip(islice(remaining, len(sample.inputs)), sample.inputs, strict=True)
            ]
            tensors += [as_real(value) for value in sample(values) if isinstance(value, Tensor)]
        return tuple(tensors)


def operator_names(group: str) -> list[str]:
    """Names of the operators of a group, in torch's order."""
    return list(dict.fromkeys(_name(op) for op, _ in _operators(group)))


def samples(
    group: str, *, operators: Iterable[str] | None = None, limit: int | None = None
) -> Iterator[Sample]:
    """Samples of a group, or of some of its operators; at most ``limit`` of each operator and dtype."""
    wanted = None if operators is None else set(operators)
    for op, dtype in _operators(group):
        if wanted is None or _name(op) in wanted:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                every = list(_samples_of(op, dtype))
            step = 1.0 if limit is None else max(1.0, len(every) / limit)
            yield from (every[int(i * step)] for i in range(len(every)) if int(i * step) < len(every))


def _operators(group: str) -> Iterator[tuple[Any, torch.dtype]]:
    from torch.testing._internal.common_methods_invocations import op_db

    for op in op_db:
        kind = "fft" if op.name.startswith("fft.") else "stft" if op.name in ("stft", "istft") else "complex"
        dtypes = [torch.complex64] if kind == "complex" else [torch.float32, torch.complex64]
        for dtype in dtypes:
            if kind == group and op.supports_dtype(dtype, "cpu"):
                yield op, dtype


def _name(op: Any) -> str:
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def _samples_of(op: Any, dtype: torch.dtype) -> Iterator[Sample]:
    torch.manual_seed(0)
    for index, given in enumerate(op.sample_inputs("cpu", dtype)):
        leaves, spec = pytree.tree_flatten(((given.input, *given.args), given.kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

        def rebuild(
            tensors: Sequence[Any], leaves: Any = leaves, spec: Any = spec, places: Any = places
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            rebuilt: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(filled, spec)
            return rebuilt

        inputs = tuple(leaves[i].detach().resolve_conj().resolve_neg() for i in places)
        yield Sample(_name(op), str(dtype).removeprefix("torch."), index, op.op, inputs, rebuild)


def judge(sample: Sample, profile: str) -> Judgement:
    """Lower a sample for a profile and compare it with eager float64."""

    def verdict(kind: Verdict, detail: str = "") -> Judgement:
        return Judgement(sample.operator, sample.dtype, sample.index, profile, kind, detail)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        reason = _unjudged(sample)
        if reason:
            return verdict(Verdict.UNJUDGED, reason)
        try:
            results = lowered_results([sample], profile)
        except LoweringFaultError as error:
            return verdict(Verdict.WRONG, str(error))
        except FdikpEdgeError as error:
            return verdict(Verdict.REFUSED, str(error))
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            return verdict(Verdict.CRASH, f"{type(error).__name__}: {first[:200]}")
        fault = difference(results, eager(sample, False), eager(sample, True))
        return verdict(Verdict.WRONG, fault) if fault else verdict(Verdict.RIGHT)


def judge_all(chosen: Iterable[Sample], profile: str) -> Iterator[Judgement]:
    """The verdict of each sample, in order; up to :data:`BATCH` of one operator are lowered as one program.

    A sample that is not right in such a program, or whose program is refused, is judged again by itself.
    """
    for _, group in itertools.groupby(chosen, lambda sample: (sample.operator, sample.dtype)):
        first = judge(next(group), profile)
        yield first
        one_by_one = first.verdict in (Verdict.REFUSED, Verdict.CRASH)
        while batch := list(islice(group, 1 if one_by_one else BATCH)):
            right = set() if len(batch) == 1 else _right_together(batch, profile)
            for sample in batch:
                if sample.index in right:
                    yield Judgement(sample.operator, sample.dtype, sample.index, profile, Verdict.RIGHT)
                else:
                    yield judge(sample, profile)


def _right_together(batch: Sequence[Sample], profile: str) -> set[int]:
    """Indices of the samples that are right in a program of all that have a truth."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        judged = [sample for sample in batch if not _unjudged(sample)]
        try:
            remaining = iter(lowered_results(judged, profile))
        except Exception:  # each is judged by itself then
            return set()
        right = set()
        for sample in judged:
            narrow = eager(sample, False)
            results = list(islice(remaining, len(narrow)))
            if not difference(results, narrow, eager(sample, True)):
                right.add(sample.index)
        return right


def lowered_results(chosen: Sequence[Sample], profile: str) -> list[Tensor]:
    """What the samples compute in one lowered program."""
    from ...export import lower

    module = SampleModule(*chosen).eval()
    inputs = tuple(value for sample in chosen for value in real_inputs(sample))
    return list(lower(module, inputs, target=profile).program.module()(*inputs))


def real_inputs(sample: Sample) -> tuple[Tensor, ...]:
    """The sample's tensors as a :class:`SampleModule` takes them."""
    return tuple(as_real(value).contiguous() for value in sample.inputs)


def eager(sample: Sample, double: bool) -> list[Tensor]:
    """The sample's tensors in eager PyTorch, in its own precision or in double precision."""
    wide = {torch.float32: torch.float64, torch.complex64: torch.complex128}
    inputs = [value.to(wide.get(value.dtype, value.dtype)) if double else value for value in sample.inputs]
    return [as_real(v) for v in sample([v.clone() for v in inputs]) if isinstance(v, Tensor)]


def _unjudged(sample: Sample) -> str:
    """Why a sample has no truth to be held against; empty if it has."""
    if any(value.layout is not torch.strided for value in sample.inputs):
        return "a sparse input"
    if any(
        bool((as_real(v).abs() > LARGEST_VALUE).any()) for v in sample.inputs if v.is_complex() and v.numel()
    ):
        return "a square beyond the range of float32"
    if "empty" in sample.operator:
        return "uninitialised memory"
    try:
        results = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            results.append(eager(sample, False))
        wide = eager(sample, True)
    except Exception as error:
        return f"PyTorch itself raises {type(error).__name__}"
    if not results[0]:
        return "no tensor in the result"
    if any(value.layout is not torch.strided for value in results[0]):
        return "a sparse result"
    if not all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(*results, strict=True)):
        return "random"
    if any(a.shape != b.shape for a, b in zip(results[0], wide, strict=True)):
        return "PyTorch's own result depends on its precision"
    errors = [relative_error(a, b) for a, b in zip(results[0], wide, strict=True)]
    return "PyTorch's own float32 result is not stable" if max(errors, default=0.0) > 1e-3 else ""


def difference(results: Sequence[Tensor], narrow: Sequence[Tensor], wide: Sequence[Tensor]) -> str:
    """What is wrong with a result; empty if nothing is."""
    if len(results) != len(narrow):
        return f"{len(results)} tensors instead of {len(narrow)}"
    for index, (got, same, truth) in enumerate(zip(results, narrow, wide, strict=True)):
        if got.shape != same.shape:
            return f"output {index} has the shape {tuple(got.shape)} instead of {tuple(same.shape)}"
        if got.dtype != same.dtype:
            return f"output {index} has the dtype {got.dtype} instead of {same.dtype}"
        if not torch.equal(torch.isfinite(got), torch.isfinite(same)):
            return f"output {index} is finite in other places"
        error, own = relative_error(got, truth), relative_error(same, truth)
        if error > max(TOLERANCE, 10 * own):
            return f"output {index} is off by {error:.1e} of its largest value"
    return ""


def relative_error(got: Tensor, truth: Tensor) -> float:
    """``max|got - truth| / max|truth|`` over what is finite in both (plain where the truth is 0)."""
    if got.numel() == 0:
        return 0.0
    got, truth = got.double(), truth.double()
    both = torch.isfinite(got) & torch.isfinite(truth)
    got, truth = torch.where(both, got, 0.0), torch.where(both, truth, 0.0)
    return float((got - truth).abs().max()) / (float(truth.abs().max()) or 1.0)


def as_real(value: Tensor) -> Tensor:
    """A complex tensor with a last axis of 2, without lazy conjugation or sign."""
    value = value.detach() if value.requires_grad else value
    return torch.view_as_real(value.resolve_conj()) if value.is_complex() else value.resolve_neg()
