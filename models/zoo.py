"""Get a network by name or from a weights file, and save one.

>>> model = load("tiny")                        # the weights that come with the package
>>> model = load("tiny", seed=7)                # initial values instead, always the same for a seed
>>> model = load("run/best.safetensors")        # your own
"""

from __future__ import annotations

import hashlib
import os
import warnings
from functools import lru_cache
from pathlib import Path

import torch

from ..runtime.errors import BadInputError
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .fdikp.fdikp import FDIKP
from .fdikp.variants import VARIANTS, Variant, get_variant

#: Written into each file; a file with another number comes from a later version of this package.
FORMAT = "1"
#: Trained weights that come with the package, one ``<variant>.safetensors`` each.
WEIGHTS = Path(__file__).parent / "weights"


class UntrainedWeightsWarning(UserWarning):
    """The network holds initial values: it nearly copies its input and sharpens nothing."""


def load(
    variant_or_checkpoint: str | os.PathLike[str], *, variant: str | None = None, seed: int | None = None
) -> FDIKP:
    """Return a float32 FDIKP on the CPU, in eval mode.

    Args:
        variant_or_checkpoint: a variant ("tiny", "small", "base"), or the path of a .safetensors, .pth or .pt
            file. A variant's name is never taken for a path; write ``./tiny`` for that.
        variant: for a file: which variant it holds, where the file does not say and its shapes should not
            decide.
        seed: for a variant: ignore any trained weights and take the initial values of this seed.

    The result's ``weights_note`` says in words where the weights come from, and ``trained`` whether anything
    was learned; untrained weights also give an :class:`UntrainedWeightsWarning`.

    Raises:
        UnknownNameError: no such variant.
        CheckpointError: the file cannot be used; the message names it and the first offending key.
        BadInputError: the arguments contradict each other.
    """
    name = os.fspath(variant_or_checkpoint)
    if name in VARIANTS:
        if variant not in (None, name):
            raise BadInputError(f"asked for variant {name!r} and for variant={variant!r}")
        shipped = WEIGHTS / f"{name}.safetensors"
        if seed is None and shipped.exists():
            model = _from_checkpoint(read_checkpoint(shipped), name)
        else:
            model = FDIKP(VARIANTS[name], seed=seed or 0)
    else:
        path = Path(name)
        if not path.suffix and not path.exists() and path.name == name:
            get_variant(name)  # neither a variant nor a file: say which variants exist
        if seed is not None:
            raise BadInputError(f"{path}: a seed makes initial weights; it means nothing for a weights file")
        model = _from_checkpoint(read_checkpoint(path), variant)
    if not model.trained:
        warnings.warn(f"{model.variant.name}: {model.weights_note}", UntrainedWeightsWarning, stacklevel=2)
    return model.eval()


def save(model: FDIKP, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the weights of ``model`` to a .safetensors ``path``, with the variant's name and the note.

    Equal weights give equal bytes. :class:`~fdikp_edge.runtime.errors.OutputError` if ``path`` exists and
    ``overwrite`` is not set, or cannot be written; nothing is left behind then.
    """
    metadata = {
        "format": "pt",  # what readers of safetensors expect to find for tensors from torch
        "fdikp_format": FORMAT,
        "variant": model.variant.name,
        "trained": "true" if model.trained else "false",
        "weights_note": model.weights_note,
    }
    write_checkpoint(Path(path), model.state_dict(), metadata, overwrite=overwrite)


def weights_sha256(model: torch.nn.Module) -> str:
    """Return the SHA-256 (hex) over names, types, shapes and bytes of all weights, in the order of names.

    What a state holds beside tensors (``_extra_state``, a record of arguments) is left out.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            continue
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _from_checkpoint(checkpoint: Checkpoint, asked: str | None) -> FDIKP:
    version = checkpoint.metadata.get("fdikp_format", FORMAT)
    if version != FORMAT:
        raise checkpoint.error(f"written in format {version!r}; this version reads format {FORMAT!r}")
    variant = _variant_of(checkpoint, asked)
    problems = _mismatches(checkpoint, variant)
    if problems:
        others = f" ({len(problems) - 1} more keys do not fit either)" if len(problems) > 1 else ""
        raise checkpoint.error(f"does not fit variant {variant.name!r}: {problems[0]}{others}")
    model = FDIKP(variant)
    model.load_state_dict({key: value.float() for key, value in checkpoint.tensors.items()})
    model.trained = checkpoint.metadata.get("trained", "true") != "false"
    model.weights_note = checkpoint.metadata.get("weights_note", f"loaded from {checkpoint.path.name}")
    return model


def _variant_of(checkpoint: Checkpoint, asked: str | None) -> Variant:
    """Return the variant the caller asked for, else the one the file names, else the one that fits best."""
    if asked is not None:
        return get_variant(asked)
    named = checkpoint.metadata.get("variant")
    if named is None:
        return min(VARIANTS.values(), key=lambda variant: len(_mismatches(checkpoint, variant)))
    if named not in VARIANTS:
        raise checkpoint.error(f"written for variant {named!r}; there are: {', '.join(VARIANTS)}")
    return VARIANTS[named]


def _mismatches(checkpoint: Checkpoint, variant: Variant) -> list[str]:
    """Say what is missing, misshapen or too much, in the order of the network and then of the file."""
    problems = []
    expected = _shapes(variant)
    for key, shape in expected.items():
        if key not in checkpoint.tensors:
            problems.append(f"key {key!r} is missing")
        elif (actual := tuple(checkpoint.tensors[key].shape)) != shape:
            problems.append(f"key {key!r} has shape {list(actual)}, expected {list(shape)}")
    problems += [f"key {key!r} is not part of it" for key in checkpoint.tensors if key not in expected]
    return problems


@lru_cache
def _shapes(variant: Variant) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in FDIKP(variant).state_dict().items()}
