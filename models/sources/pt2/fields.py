"""Read one field of the JSON in a .pt2 file, or say what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    10: torch.complex64,
    11: torch.complex128,
    12: torch.bool,
    13: torch.bfloat16,
}


def identifier(value: Any) -> str:
    """Return a text that is a name."""
    if not isinstance(value, str) or not value.isidentifier():
        raise ValueError(f"{value!r:.80} is no name")
    return value


def integers(values: Any) -> list[int]:
    """Return whole numbers, given as the format writes sizes."""
    whole = []
    for value in values:
        number = value.get("as_int") if isinstance(value, Mapping) else value
        if type(number) is not int or abs(number) >= 2**62:
            raise ValueError("it has dynamic shapes; export it again without dynamic_shapes")
        whole.append(number)
    return whole


def dtype_of(code: Any) -> torch.dtype:
    """Return the dtype of a number in the format."""
    if type(code) is not int or code not in _DTYPES:
        raise ValueError(f"it has tensors of an unsupported type ({code!r:.20})")
    return _DTYPES[code]


def mapping_at(record: Any, key: str) -> dict[str, Any]:
    """Return a field that is an object."""
    if not isinstance(record, Mapping) or not isinstance(record.get(key), dict):
        raise ValueError(f"it has no table {key!r}")
    mapping: dict[str, Any] = record[key]
    return mapping


def list_at(record: Any, key: str) -> list[Any]:
    """Return a field that is a list."""
    if not isinstance(record, Mapping) or not isinstance(record.get(key), list):
        raise ValueError(f"it has no list {key!r}")
    items: list[Any] = record[key]
    return items


def text_at(record: Any, key: str) -> str:
    """Return a field that is text."""
    if not isinstance(record, Mapping) or not isinstance(record.get(key), str):
        raise ValueError(f"it has no text {key!r}")
    text: str = record[key]
    return text
