"""Put the weights of a file into a network that somebody else wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoint import MAX_FILE_BYTES, Checkpoint, read_tensors

WRAPPERS = ("params_ema", "ema_state_dict", "params", "state_dict", "model_state_dict", "model", "net")
"""Where training scripts put the weights, best first: an average over training before its last state."""

FACTOR = 8
"""Bytes of a file for each byte of the network: weights, their average, an optimiser's state, in float64."""
_MOST_NAMED = 3


def load_weights(network: nn.Module, path: Path) -> tuple[str, ...]:
    """Load a .safetensors, .pth or .pt file into ``network``, and return what users should know of it.

    A prefix that all keys of the file share is taken off where the network has none of that name.

    Raises:
        CheckpointError: the file is unsafe, damaged, or far larger than the network; keys are missing or left
            over (the first of them are named), or a tensor has another shape or values that are not finite.
    """
    own = network.state_dict(keep_vars=True)
    tensors = {key: value for key, value in own.items() if isinstance(value, Tensor)}
    total = sum(value.numel() * max(4, value.element_size()) for value in tensors.values())
    checkpoint = read_tensors(path, max_bytes=max(MAX_FILE_BYTES, FACTOR * total), wrappers=WRAPPERS)
    stored, notes = _without_prefix(checkpoint.tensors, tensors)
    _check_shapes(checkpoint, stored, tensors)
    types = {value.dtype for value in stored.values()} & {torch.float16, torch.bfloat16}
    narrow = sorted(str(dtype).removeprefix("torch.") for dtype in types)
    if narrow:
        notes += (f"{' and '.join(narrow)} weights of {path.name} were converted to float32",)
    result = network.load_state_dict(stored, strict=False)
    missing = _not_loaded(result.missing_keys, stored, own)
    if missing or result.unexpected_keys:
        raise checkpoint.error(_misfit(type(network).__name__, missing, result.unexpected_keys))
    return (*checkpoint.notes, *notes)


def _without_prefix(
    stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take off leading parts that all keys share (``module.``, ``net.``) and no key of the network has."""
    tensors, taken = dict(stored), ""
    while tensors and not expected.keys() & tensors.keys():
        heads = {key.partition(".")[0] for key in tensors}
        if len(heads) != 1 or not all("." in key for key in tensors):
            break
        head = f"{heads.pop()}."
        tensors = {key.removeprefix(head): value for key, value in tensors.items()}
        taken += head
    if not taken or not expected.keys() & tensors.keys():
        return dict(stored), ()
    return tensors, (f"the prefix {taken!r} was taken off the keys of the weights file",)


def _check_shapes(
    checkpoint: Checkpoint, stored: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    """Check those tensors that the network has: others are never read, however large they claim to be."""
    for key in stored.keys() & expected.keys():
        value, wanted = stored[key], expected[key]
        if value.shape != wanted.shape:
            raise checkpoint.error(
                f"key {key!r} has shape {list(value.shape)}, the network expects {list(wanted.shape)}"
            )
        if value.is_complex() != wanted.is_complex():
            raise checkpoint.error(f"key {key!r} has type {value.dtype}, the network expects {wanted.dtype}")
        allowed = torch.isfinite(value) if isinstance(wanted, nn.Parameter) else ~torch.isnan(value)
        if not bool(allowed.all()):  # a buffer may hold infinity, as masks do
            raise checkpoint.error(f"key {key!r} holds values that are not finite")


def _not_loaded(missing: Sequence[str], stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Return the missing keys, without those of shared tensors, which files keep under one of their keys."""
    loaded = {id(own[key]) for key in stored if key in own}
    return [key for key in missing if id(own.get(key)) not in loaded]


def _misfit(network: str, missing: Sequence[str], unexpected: Sequence[str]) -> str:
    parts = []
    for keys, what in ((missing, "missing"), (unexpected, "not part of it")):
        if keys:
            first = ", ".join(map(repr, keys[:_MOST_NAMED])) + (", ..." if len(keys) > _MOST_NAMED else "")
            parts.append(f"{len(keys)} {'key is' if len(keys) == 1 else 'keys are'} {what} ({first})")
    return f"does not fit {network}: {' and '.join(parts)}"
