"""Which nodes must not compute in low precision, by provenance: a node's transform and its place.

The lowering marks each node that a transform became. From there:

- a *transform* stays in floats, since its sums carry one value of every pixel into every frequency;
- what a module computes *on a spectrum*, between its transform and the way back, may have to: one coefficient
  holds the sum of a whole map, and a range that fits it can leave no steps for the others. Calibration tries
  it (:mod:`fdikp_edge.calibration.spectral_layers`);
- *kernel inversion* (products whose operands are both made at run time) has no weights to quantise.

Layers that a lowering made for its own use (copies and sums by zeros and ones) hold constants in
``spectral``, and count as transforms.

Rounding costs a picture most at the *ends*: what the last layer makes is added to the picture as it is, and
where results are rounded too, the first layer's is what all sums after it start from. Whether they are worth
it depends on what a runtime gains (:class:`.profile.Profile`). In a network that makes kernels at
run time, what these are computed from and what follows the last upsampling is *exposed*: pictures such as
gratings of two pixels lose nearly all to rounding there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import fx

from ..calibration.layers import RUN_TIME, Layer, find_layers, kind_of
from ..calibration.layers import module_of as module_of
from .aten import ARITHMETIC, RESHAPES, SHUFFLES, base_name, is_upsampling
from .spectral import LoweredProgram
from .spectral.fuse.blocks import BAND
from .spectral.graph import SITE
from .spectral.sites import Kind

TRANSFORM = "part of the transform {site} in {module}: its sums would lose the small coefficients"
SPECTRUM = "computed on the spectrum of {module}, whose mean is far larger than the other coefficients"
LOWERING = "a constant added by the lowering, not a layer of the network"
KERNELS = "feeds the kernels computed at run time, whose inversion amplifies rounding errors"
FIRST = "reads the input image: its rounding error would remain in every later sum"
LAST = "produces the output image: no later layer smooths its rounding error"
PICTURE = "between the last upsampling and the output image: no later layer smooths its rounding error"
ELEMENTWISE = ARITHMETIC | {"clamp", "round", "permute", "alias", "clone", "_to_copy"}
READ_THROUGH = ELEMENTWISE | RESHAPES | {"cat", "pixel_unshuffle"}
MOVING = RESHAPES | SHUFFLES | {"cat", "select", "slice", "transpose"}
"""What only moves values, behind the layer that makes the picture. In front of the one that reads it fewer
count: a network that cuts its picture into shifted parts goes on to filter it with them."""


def sites_of(lowered: LoweredProgram) -> dict[str, str]:
    """Return name of node -> name of the transform site it belongs to."""
    sites = {}
    for node in lowered.program.graph.nodes:
        site = node.meta.get("custom", {}).get(SITE)
        if site:
            sites[node.name] = str(site)
    return sites


def protected(lowered: LoweredProgram) -> tuple[dict[str, str], dict[str, str]]:
    """Return name of node -> reason, for nodes that must stay in floats, and for those that may have to."""
    sites = sites_of(lowered)
    plan = {choice.site.name: choice.site for choice in lowered.plan.choices}
    reasons: dict[str, str] = {}
    spectra: list[tuple[fx.Node, str]] = []
    for node in lowered.program.graph.nodes:
        name = sites.get(node.name)
        if name is not None:
            site = plan.get(name)
            module = (site.module_path if site else module_of(node)) or "the root module"
            reasons[node.name] = TRANSFORM.format(site=name, module=module)
            if site is not None and (site.kind is Kind.R2C or (site.kind is Kind.C2C and site.sign < 0)):
                spectra.append((node, module_of(node)))
        elif any(_is_constant_of_lowering(source) for source in node.all_input_nodes):
            reasons[node.name] = LOWERING
    doubtful = {
        node.name: SPECTRUM.format(module=owner or "the root module")
        for start, owner in spectra
        for node in _downstream(start, owner, sites)
        if node.name not in reasons
    }
    return reasons, doubtful


def ends(lowered: LoweredProgram, *, first: bool, last: bool) -> dict[str, str]:
    """Return name of node -> reason, for layers that read the picture and those that make it.

    Other calls of their weights, at another scale say, are among them: weights are stored once.
    """
    graph = lowered.program.graph
    layers = {layer.node: layer for layer in find_layers(lowered.program, protected(lowered)[0])}
    reasons: dict[str, str] = {}
    if first:
        for image in (n for n in graph.nodes if n.name in lowered.program.graph_signature.user_inputs):
            reasons |= dict.fromkeys(_nearest(image, _readers, layers), FIRST)
    if last:
        result = next(node for node in graph.nodes if node.op == "output")
        reasons |= dict.fromkeys(_nearest(result, _sources_of_sum, layers), LAST)
    by_weight = {layers[name].weight: reason for name, reason in reasons.items()}
    return {name: by_weight[layer.weight] for name, layer in layers.items() if layer.weight in by_weight}


def _nearest(
    start: fx.Node, following: Callable[[fx.Node], Iterable[fx.Node]], layers: Mapping[str, Layer]
) -> Iterator[str]:
    """Yield the layers with stored weights that are reached without passing another layer."""
    seen, waiting = {start}, [start]
    while waiting:
        for node in following(waiting.pop()):
            if node in seen:
                continue
            seen.add(node)
            layer = layers.get(node.name)
            if layer is None:
                waiting.append(node)
            elif not layer.reason:
                yield node.name


def _readers(node: fx.Node) -> Iterable[fx.Node]:
    """Return what reads a node, where the picture's values are still themselves."""
    plain = node.op == "placeholder" or base_name(node.target) in READ_THROUGH
    return node.users if plain else ()


def _sources_of_sum(node: fx.Node) -> Iterable[fx.Node]:
    """Return what a node is computed from, where that is value by value."""
    plain = node.op == "output" or base_name(node.target) in ELEMENTWISE | MOVING
    return node.all_input_nodes if plain else ()


def exposed(lowered: LoweredProgram) -> dict[str, str]:
    """Return name of node -> reason, for nodes where rounding costs most of the picture.

    Those are what the kernels made at run time are computed from, and what lies between the last upsampling
    and the picture. A network that makes no kernels has none: there was no such loss to be seen.
    """
    nodes = {node.name: node for node in lowered.program.graph.nodes}
    kernels = [nodes[layer.weight] for layer in find_layers(lowered.program) if layer.reason == RUN_TIME]
    bands = [node for node in nodes.values() if node.name.startswith(f"b_spectral_{BAND}")]
    kernels += [user for band in bands for user in band.users]  # products of blocks by kernels
    if not kernels:
        return {}
    results = next(node for node in nodes.values() if node.op == "output").all_input_nodes
    picture = {node.name: PICTURE for node in _upstream(results, stop=is_upsampling)}
    return {**picture, **{node.name: KERNELS for node in _upstream(kernels)}}


def _upstream(nodes: Iterable[fx.Node], stop: Callable[[object], bool] | None = None) -> set[fx.Node]:
    """Return nodes and what they are computed from; not past operators that ``stop`` is true of."""
    seen: set[fx.Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node in seen or (stop is not None and stop(node.target)):
            continue
        seen.add(node)
        waiting += node.all_input_nodes
    return seen


def is_layer(node: fx.Node) -> bool:
    """Return whether a node is a convolution, transposed or not, or a linear layer, of any weights."""
    return kind_of(node) is not None


def _is_constant_of_lowering(node: fx.Node) -> bool:
    """Made by the lowering, and not only folded: a part of a network's own weights is the network's."""
    own, folded = "b_spectral_", "b_spectral_constant_"
    return node.op == "placeholder" and node.name.startswith(own) and not node.name.startswith(folded)


def _downstream(start: fx.Node, owner: str, sites: dict[str, str]) -> Iterator[fx.Node]:
    """Yield what follows from a spectrum inside its module, up to the transform back."""
    seen, waiting = {start}, [start]
    while waiting:
        for user in waiting.pop().users:
            inside = module_of(user) == owner or module_of(user).startswith(f"{owner}." if owner else "")
            if user in seen or not inside or user.op != "call_function":
                continue
            seen.add(user)
            if user.name in sites and sites[user.name] != sites.get(start.name):
                continue  # the way back
            yield user
            waiting.append(user)
