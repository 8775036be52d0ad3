"""The network an artifact was made from, in PyTorch eager, found again from its passport."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..export.reference import Reference
    from ..models.sources.base import NetworkSource, TensorSpec
    from ..runtime.artifact import Artifact
    from ..runtime.passport import Passport
    from ..runtime.tensors import TensorContract
    from .options import ReferenceOptions


def torch_is_here() -> bool:
    """Say whether PyTorch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def refuse_unused(given: Sequence[str], without: str) -> None:
    """Refuse options that only PyTorch can honour, where it does not run.

    Args:
        given: the options given, as typed.
        without: the option that leaves PyTorch out; empty where it is not installed.

    Raises:
        BadInputError: there are any.
    """
    from ..runtime.errors import BadInputError
    from ..runtime.installed.packages import TORCH

    if not given:
        return
    options = ", ".join(given)
    if without:
        raise BadInputError(
            f"{options}: not used with {without}, which leaves PyTorch out; give one of the two"
        )
    raise BadInputError(
        f"{options}: needs PyTorch, which is not installed here ({TORCH.cure}); without it an artifact is "
        "compared only with the golden data stored in it"
    )


def eager_of(artifact: Artifact, asked: ReferenceOptions) -> Reference:
    """Return the reference of ``artifact``: the network asked for, behind its image contract.

    Raises:
        BadInputError: that is not the network the artifact was made from.
        UnknownNameError: no network was given, and the passport names none that comes with the toolkit.
    """
    from ..export.build import reference_for

    return reference_for(artifact, source_of_artifact(artifact, asked))


def source_of_artifact(artifact: Artifact, asked: ReferenceOptions, *, other: bool = False) -> NetworkSource:
    """Return the network that ``artifact`` was made from; raises as :func:`eager_of` does.

    A passport may name code of the user's; it is imported only if the user names it again, by ``--model``.
    With ``other`` the weights need not be those of the artifact.
    """
    from ..models.fdikp.variants import VARIANTS
    from ..models.zoo import weights_sha256
    from ..runtime.errors import BadInputError, UnknownNameError

    passport = artifact.passport
    named = passport.source or passport.model
    if asked.model is None and passport.model not in VARIANTS:
        if asked.weights is None:
            raise UnknownNameError(
                f"{artifact.path}: was built from a network that its passport calls {named!r}; nothing "
                "that a passport names is loaded by itself: give the network with --model, as to deploy"
            )
        # A weights file of FDIKP says by itself which variant it holds.
        source = dataclasses.replace(asked, model=str(asked.weights), weights=None).source(named)
    else:
        source = _with_recorded_inputs(passport, asked)
    if not other:
        module = source.load()
        if weights_sha256(module) != passport.weights_sha256:
            given = asked.model or str(asked.weights or passport.model)
            seed = "" if asked.seed is None else f" with seed {asked.seed}"
            noted = next((note for note in passport.notes if note.startswith("weights: ")), "")
            raise BadInputError(
                f"{artifact.path}: has other weights than {given}{seed}"
                + (f" (its passport says {noted!r})" if noted else "")
                + "; name the network and its weights as to deploy, with --model and its --weights, "
                "--model-arg or --seed"
            )
        source = dataclasses.replace(source, load=lambda: module)
    return source


def _with_recorded_inputs(passport: Passport, asked: ReferenceOptions) -> NetworkSource:
    """Return the network asked for; its inputs are the artifact's where its code does not say them.

    So ``--input`` need not be repeated. Complex inputs have to be: a passport holds them as pairs of reals.
    """
    from ..runtime.errors import SourceError

    if asked.input or any(taken.layout == "NHWC" for taken in passport.inputs):
        return asked.source(passport.model)
    source: NetworkSource | None = None
    try:
        source = asked.source(passport.model)
    except SourceError as error:
        problem = error
    if source is not None and _takes(source, passport):
        return source
    try:
        return asked.source(passport.model, [_spec(taken) for taken in passport.inputs])
    except SourceError:
        if source is None:
            raise problem from None
        return source


def _takes(source: NetworkSource, passport: Passport) -> bool:
    """Whether the inputs of a network are those of an artifact."""
    from ..export.contracts import image_contract, tensor_contract
    from ..runtime.errors import SizeError

    size = next((taken.size for taken in passport.inputs if taken.is_picture), None)
    contract = image_contract(passport.contract)
    try:
        return tuple(tensor_contract(spec.at(size), contract) for spec in source.inputs) == passport.inputs
    except SizeError:
        return False


def _spec(taken: TensorContract) -> TensorSpec:
    from ..models.sources.base import COLORS, TensorSpec

    names = {count: name for name, count in COLORS.items()}
    return TensorSpec(
        name=taken.name,
        shape=taken.shape,
        dtype=taken.dtype,
        value_range=taken.value_range,
        layout=taken.layout,
        color=names[taken.channels] if taken.has_colors else "",
    )
