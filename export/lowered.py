"""A network lowered once, at one size, ready to be built for any target."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..models import sources, zoo
from ..models.sources.base import NetworkSource
from ..models.widening import widening_notes
from ..runtime.errors import BadInputError, LoweringError
from ..runtime.photo import Array
from ..runtime.tensors import TensorContract, check_memory
from .contracts import Deployable, image_contract, tensor_contract
from .inputs import samples_of, takes_photos
from .onnx.source.network import OnnxNetwork, lower_onnx
from .onnx.source.program import OnnxProgram
from .profile import DEFAULT
from .reference import Reference
from .spectral import LoweredProgram, Plan, lower
from .spectral.lower import lower_traced
from .spectral.planner import make_plan
from .spectral.strategies import STRATEGIES
from .spectral.traced import trace_network
from .trial_sizes import problem_with, sizes_in_errors


@dataclass(frozen=True)
class LoweredModel:
    """A network at one size, lowered and ready to be built for targets.

    ``size`` is height and width of its first input if that is a picture, else the whole shape. ``inputs`` and
    ``outputs`` say what a built model takes and returns, ``source`` what the network says of itself.
    ``plan`` is the user's override of the planner (patterns of sites to strategies), kept for other targets.
    """

    name: str
    deployable: Deployable
    lowered: LoweredProgram
    size: tuple[int, ...]
    weights_sha256: str
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    source: NetworkSource
    notes: tuple[str, ...] = ()
    plan: Plan | dict[str, str] | None = None
    _profiles: dict[str, LoweredModel] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def takes_photos(self) -> bool:
        """Whether its only input is a picture in colours, so that any photo shows what it does."""
        return takes_photos(self.inputs)

    @cached_property
    def reference(self) -> Reference:
        """The network in PyTorch eager, with its native FFT."""
        return Reference(self.deployable)

    def for_profile(self, profile: str) -> LoweredModel:
        """Return the model lowered for another profile; where the planner would choose the same, this program
        with that profile's plan. A profile is lowered once, whatever is built for it."""
        program: object = self.lowered
        if isinstance(program, OnnxProgram):
            return dataclasses.replace(self, lowered=cast(LoweredProgram, program.for_profile(profile)))
        if profile == self.lowered.plan.target:
            return self
        if profile not in self._profiles:
            self._profiles[profile] = self._for_profile(profile)
        return self._profiles[profile]

    def _for_profile(self, profile: str) -> LoweredModel:
        chosen = self.lowered.plan
        wanted = make_plan([choice.site for choice in chosen.choices], profile, self.plan)
        if wanted.key == chosen.key:
            return dataclasses.replace(self, lowered=dataclasses.replace(self.lowered, plan=wanted))
        traced = self.lowered.traced or trace_network(self.deployable, self.deployable.example())
        lowered = lower_traced(traced, target=profile, plan=self.plan)
        lowered = dataclasses.replace(
            lowered,
            samples=self.lowered.samples,
            input_names=self.lowered.input_names,
            output_names=self.lowered.output_names,
        )
        return dataclasses.replace(self, lowered=lowered)


def lower_model(
    model: nn.Module | NetworkSource,
    size: tuple[int, int] | None = None,
    *,
    name: str | None = None,
    contract: str = "float_nchw",
    profile: str | None = None,
    plan: Plan | dict[str, str] | None = None,
    samples: Sequence[Array] | None = None,
) -> LoweredModel:
    """Put a network behind an image contract and lower it at one size.

    Args:
        model: a network source, or a network by itself: it says what it is by a method ``network_source()``,
            and otherwise takes one float32 [1, 3, H, W] in [0, 1]. Set to eval mode.
        size: height and width in pixels of every picture whose size the source leaves open.
        name: what artifacts call it; the source's name when ``None``.
        contract: how pictures go in and out: ``float_nchw`` or ``uint8_nhwc``; see
            :func:`~fdikp_edge.export.contracts.tensor_contract`.
        profile: whose costs the planner counts with (:attr:`Target.profile`).
        plan: overrides the planner; see :func:`~fdikp_edge.export.lower`.
        samples: inputs of a network of one input, as its contract describes them, that show what it is used
            on: some targets decide by them what must stay in float32. The source's samples when ``None``.

    Raises:
        SizeError: the network does not take this size; lists the nearest that it does.
        BadInputError: no size for a network that takes pictures of any, or results that are no tensors.
        UnknownNameError: no such contract.
        LoweringError: the network cannot be lowered; names the operator and its module.
    """
    source = model if isinstance(model, NetworkSource) else sources.of(model, name)
    module = source.load() if isinstance(model, NetworkSource) else model
    specs = source.at(size)
    deployable = Deployable(module, image_contract(contract), specs, source.outputs).eval()
    inputs = tuple(tensor_contract(spec, deployable.contract) for spec in specs)
    check_memory(inputs, source.name)
    if isinstance(module, OnnxNetwork):
        lowered = _of_onnx(deployable, module, profile)
    else:
        with _assumption_in_errors(deployable, source), _sizes_in_errors(deployable, source, size):
            lowered = lower(deployable, deployable.example(), target=profile, plan=plan)
    outputs = tuple(tensor_contract(spec, deployable.contract) for spec in deployable.described)
    lowered = dataclasses.replace(
        lowered,
        samples=functools.partial(_samples, source, inputs, samples),
        input_names=tuple(contract.name for contract in inputs),
        output_names=tuple(contract.name for contract in outputs),
    )
    weights = [f"weights: {source.note}"] if source.note else []
    return LoweredModel(
        name=name or source.name,
        deployable=deployable,
        lowered=lowered,
        size=inputs[0].extent,
        weights_sha256=zoo.weights_sha256(module),
        inputs=inputs,
        outputs=outputs,
        source=source,
        notes=(*weights, *source.notes, *widening_notes(module)),
        plan=plan,
    )


def _of_onnx(deployable: Deployable, network: OnnxNetwork, profile: str | None) -> LoweredProgram:
    """Return the plain ONNX file, which stands in the place of a program."""
    if deployable.contract != "float_nchw":
        raise BadInputError(f"{network.source.path}: an ONNX file takes what it takes, not bytes of pictures")
    with torch.no_grad():
        deployable(*deployable.example())  # so that its results are known
    return cast(LoweredProgram, lower_onnx(network, profile or DEFAULT.name))


@contextlib.contextmanager
def _assumption_in_errors(deployable: Deployable, source: NetworkSource) -> Iterator[None]:
    """Say which input was assumed where nobody declared one and the network itself does not take it."""
    try:
        yield
    except LoweringError as error:
        if not source.assumed or not problem_with(deployable, deployable.example()):
            raise
        (spec,) = deployable.specs
        raise LoweringError(
            f"{error}. No input was declared, so a picture was assumed: {spec.words}. If the network takes "
            f"something else, declare it, for example --input {spec.name}=1x8000:float32:-1..1"
        ) from error


def _sizes_in_errors(
    deployable: Deployable, source: NetworkSource, size: tuple[int, int] | None
) -> contextlib.AbstractContextManager[None]:
    """Name sizes that work where the network does not take ``size``; nothing to do where it has no choice."""
    if size is None or not any(None in spec.shape for spec in source.inputs):
        return contextlib.nullcontext()
    of_any_size = Deployable(deployable.model, deployable.contract, source.inputs)
    return sizes_in_errors(deployable, of_any_size.example, size)


def _samples(
    source: NetworkSource, inputs: tuple[TensorContract, ...], given: Sequence[Array] | None
) -> list[tuple[Tensor, ...]]:
    arrays = (
        [{inputs[0].name: array} for array in given]
        if given is not None
        else [sample.arrays for sample in samples_of(source, inputs)]
    )
    return [
        tuple(torch.from_numpy(np.ascontiguousarray(one[contract.name])) for contract in inputs)
        for one in arrays
    ]


def describe_model(model: LoweredModel) -> dict[str, Any]:
    """Return what a report says of a model: name, hashes, size, contract, and where its weights come from."""
    return {
        "name": model.name,
        "weights_sha256": model.weights_sha256,
        "program_sha256": model.lowered.sha256,
        "size": list(model.size),
        "image_contract": model.deployable.contract,
        "parameters": _parameters(model.deployable.model),
        "notes": list(model.notes),
    }


def _parameters(network: nn.Module) -> int:
    if isinstance(network, OnnxNetwork):
        return network.parameter_count
    return sum(parameter.numel() for parameter in network.parameters())


def summarise(plan: Plan) -> str:
    """Return one line about a plan, as model files carry it: ``12 flat, 3 separable``.

    Transforms are counted by the products that compute them, whatever the layout: a window of a fused block
    is flat. The passport has the strategies.
    """
    counts: dict[str, int] = {}
    for choice in plan.choices:
        product = STRATEGIES[choice.strategy].product or choice.strategy
        counts[product] = counts.get(product, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no transforms"
