"""Small helpers around ``torch.fft`` that the blocks share: windows, and a valid half spectrum."""

from __future__ import annotations

import torch
from torch import Tensor


def project_hermitian(z: Tensor, width: int) -> Tensor:
    """Make a half spectrum the spectrum of a real image, so that every ``irfft2`` agrees on the result.

    ``z`` is complex [..., H, width // 2 + 1]. In the half spectrum of a real image, column 0 and (``width``
    even) the Nyquist column mirror themselves: the value at row k is the conjugate of the value at row -k.
    What a network predicts does not; torch on the CPU drops the part that does not fit, other libraries may
    not. This drops it explicitly, and changes nothing for ``torch.fft.irfft2`` on the CPU.
    """
    columns = width // 2 + 1
    last = columns - 1 if width % 2 == 0 else columns
    parts = [_self_mirrored(z[..., :1])]
    if last > 1:
        parts.append(z[..., 1:last])
    if width % 2 == 0:
        parts.append(_self_mirrored(z[..., last:]))
    return torch.cat(parts, dim=-1)


def _self_mirrored(column: Tensor) -> Tensor:
    mirrored = torch.roll(torch.flip(column, (-2,)), 1, -2)  # row k holds row -k (modulo the height)
    return 0.5 * (column + mirrored.conj())


def to_windows(x: Tensor, size: int) -> Tensor:
    """Cut [B, C, H, W] into windows [B, C, H/size, W/size, size, size]."""
    b, c, h, w = x.shape
    return x.reshape(b, c, h // size, size, w // size, size).permute(0, 1, 2, 4, 3, 5)


def from_windows(windows: Tensor) -> Tensor:
    """Put windows [B, C, rows, columns, size, size] back into one map [B, C, rows*size, columns*size]."""
    b, c, rows, columns, size, _ = windows.shape
    return windows.permute(0, 1, 2, 4, 3, 5).reshape(b, c, rows * size, columns * size)


def to_overlapping_windows(x: Tensor, size: int) -> Tensor:
    """Cut [B, C, H, W] into windows that overlap by half: [B, C, 2H/size - 1, 2W/size - 1, size, size].

    H and W are multiples of ``size // 2`` and at least ``size``. Each window is two by two neighbouring
    half-size windows put together.
    """
    b, c, h, w = x.shape
    half = size // 2
    tiles = x.reshape(b, c, h // half, half, w // half, half)
    tall = torch.cat([tiles[:, :, :-1], tiles[:, :, 1:]], dim=3)
    windows = torch.cat([tall[:, :, :, :, :-1], tall[:, :, :, :, 1:]], dim=5)
    return windows.permute(0, 1, 2, 4, 3, 5)
