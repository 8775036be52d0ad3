"""Replaces chains of operators by an equal computation that runtimes do not spread over huge intermediates.

Each pattern is found on the exported graph, checked, and replaced by nodes that call small Python objects;
the rewriter traces through those objects, so the lowered program has ordinary operators again, in a better
order. Every pattern that is looked for and left alone says why.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from torch import fx

from ..graph import module_path, site_name
from ..planner import Choice
from ..sites import Site, is_transform
from ..strategies import Window
from .adaptive import rewrite_kernel_mixture, rewrite_neighbourhood_sum
from .base import RESHAPES, Declined, Fused, FusionRecord
from .maps import rewrite_maps
from .planar import rewrite_planar
from .planar_mixing import rewrite_planar_mixing
from .runtime_kernels import rewrite_runtime_kernels
from .windows import match_windows, rewrite_windows

__all__ = ["Declined", "Fused", "FusionRecord", "Fusions", "fuse"]

SUM = ("aten.sum.dim_IntList",)
FORWARD = ("aten.fft_rfft2.default",)
CONVOLUTION = ("aten.conv2d.default",)

Chooser = Callable[[Sequence[Site]], Sequence[Choice]]
Rewrite = Callable[[fx.Graph, fx.Node], "fx.Node | Declined"]


@dataclass
class Fusions:
    """What became of every pattern, and what that means for the transforms.

    ``partners``: name of a transform -> name of the one at the other end of its block of windows, whether
    the block was replaced or only could be. ``unfused``: name of a forward transform -> why it starts none.
    """

    records: list[FusionRecord] = field(default_factory=list)
    partners: dict[str, str] = field(default_factory=dict)
    unfused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pattern:
    """A rewriting, and the operators at which it is tried."""

    name: str
    operators: Collection[str]
    rewrite: Rewrite


def fuse(
    graph: fx.Graph,
    *,
    choose: Chooser,
    channels_last: bool,
    runtime_kernels: bool = True,
    block_products: bool = False,
    planar_mixing: bool = False,
    inputs: Collection[str] = (),
) -> Fusions:
    """Apply every pattern wherever it fits, and where a transform is inside, the plan wants it.

    ``choose`` plans transforms, given as sites, and raises where it cannot. ``channels_last``: the runtime's
    convolutions keep channels as the fastest index. ``runtime_kernels``: they take kernels that depend on
    ``inputs``, the names of the program's own inputs. ``block_products``: such kernels for single channels
    multiply blocks of the image faster than a convolution takes them. ``planar_mixing``: a product mixes maps
    that a transform reads too faster than a convolution, which reorders them.
    """
    done = Fusions()
    if block_products:  # before the convolutions inside are replaced
        mixture = functools.partial(rewrite_kernel_mixture, blocks_for=inputs)
        if _apply(graph, [_Pattern("block_mixture", SUM, mixture)], done.records):
            graph.eliminate_dead_code()
    patterns = [_Pattern("neighbourhood_sum", SUM, rewrite_neighbourhood_sum)]
    if channels_last:
        patterns.append(_Pattern("kernel_mixture", SUM, rewrite_kernel_mixture))
    patterns.append(_Pattern("window", FORWARD, functools.partial(_windows, done=done, choose=choose)))
    if channels_last:
        patterns.append(_Pattern("map", FORWARD, functools.partial(rewrite_maps, choose=choose)))
    if not runtime_kernels or block_products:
        convolutions = functools.partial(
            rewrite_runtime_kernels, inputs=inputs, in_blocks=block_products, all_kinds=not runtime_kernels
        )
        patterns.append(_Pattern("product_convolution", CONVOLUTION, convolutions))
    if _apply(graph, patterns, done.records):
        graph.eliminate_dead_code()
    if planar_mixing and _apply(
        graph, [_Pattern("planar_mixing", CONVOLUTION, rewrite_planar_mixing)], done.records
    ):
        graph.eliminate_dead_code()
    if channels_last:
        transforms = {str(node.target) for node in graph.nodes if is_transform(str(node.target))}
        _apply(graph, [_Pattern("planar_copy", {*RESHAPES, *transforms}, rewrite_planar)], done.records)
    return done


def _apply(graph: fx.Graph, patterns: Iterable[_Pattern], records: list[FusionRecord]) -> bool:
    """Try patterns at every node, the first that fits; whether any did."""
    changed = False
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        for pattern in patterns:
            if str(node.target) not in pattern.operators:
                continue
            name, path = site_name(node), module_path(node)
            result = pattern.rewrite(graph, node)
            reason = result.reason if isinstance(result, Declined) else None
            records.append(FusionRecord(pattern.name, name, path, reason))
            if reason is None:
                changed = True
                break
    return changed


def _windows(graph: fx.Graph, node: fx.Node, *, done: Fusions, choose: Chooser) -> fx.Node | Declined:
    """Rewrite a block of windows if both its transforms are planned so."""
    block = match_windows(node)
    if isinstance(block, Declined):
        done.unfused[site_name(node)] = block.reason
        return block
    ends = (block.forward, block.inverse)
    done.partners.update({site.name: site.partner for site in ends if site.partner is not None})
    for choice in choose(ends):
        if choice.strategy != Window.name:
            return Declined(f"{choice.site.name} is computed as {choice.strategy!r}: {choice.reason}")
    return rewrite_windows(graph, block)
