"""Operators that litert-torch 0.10 cannot convert, or for which LiteRT has no kernel, in other operators."""

from typing import Any


def rewrite(module: Any) -> int:
    """Replace them in an exported module, and return how many there were."""
    import torch

    aten = torch.ops.aten
    instead = {
        aten.square.default: square,  # becomes a power, which is refused for more than four axes
        aten.slice_scatter.default: slice_scatter,  # becomes an update that LiteRT has no kernel for
        aten.conv3d.default: conv3d,  # `CONV_3D` has no groups
    }
    count = 0
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target in instead:
            node.target = instead[node.target]
            count += 1
    module.recompile()
    return count


def square(x: Any) -> Any:
    """Return the square of each value."""
    return x * x


def slice_scatter(x: Any, part: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    """Return ``x`` with every ``step``-th place along an axis replaced by those of ``part``."""
    import torch

    axis, extent = dim % x.dim(), x.shape[dim]
    places = range(extent)[slice(start, end, step)]
    if not places:
        return x
    first, behind = places[0], places[-1] + 1
    middle = part
    if step > 1:
        spread = part.unsqueeze(axis + 1).expand(*part.shape[: axis + 1], step, *part.shape[axis + 1 :])
        spread = spread.reshape(*part.shape[:axis], len(places) * step, *part.shape[axis + 1 :])
        own = x.narrow(axis, first, behind - first)
        spread = spread.narrow(axis, 0, behind - first)
        chosen = (torch.arange(behind - first) % step == 0).reshape(-1, *[1] * (x.dim() - axis - 1))
        middle = torch.where(chosen, spread, own)
    pieces = [x.narrow(axis, 0, first), middle, x.narrow(axis, behind, extent - behind)]
    pieces = [piece for piece in pieces if piece.shape[axis]]
    return torch.cat(pieces, axis) if len(pieces) > 1 else middle


def conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Return a convolution of volumes, group by group."""
    import torch

    rest = (stride, padding, dilation)
    if groups == 1:
        return torch.nn.functional.conv3d(x, weight, bias, *rest)
    biases = [None] * groups if bias is None else bias.chunk(groups)
    pieces = zip(x.chunk(groups, 1), weight.chunk(groups), biases, strict=True)
    return torch.cat([torch.nn.functional.conv3d(*piece, *rest) for piece in pieces], 1)
