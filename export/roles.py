"""What must not be computed in few bits, told by provenance: the transform a node belongs to, and its place.

The lowering marks each node that a transform became. From there:

- a *transform* stays in floats, since its sums carry one value of every pixel into every frequency;
- what a module computes *on a spectrum*, between its transform and the way back, may have to: one coefficient
  holds the sum of a whole map, and a range that fits it can leave no steps for the others. Calibration tries
  it (:mod:`fdikp_edge.calibration.admission`);
- *kernel inversion* (products whose operands are both made at run time) has no weights to quantise.

Layers that a lowering made for its own use (copies and sums by zeros and ones) hold constants in
``spectral``, and count as transforms.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from .spectral import LoweredProgram
from .spectral.rewriter import MODULE, SITE
from .spectral.sites import Kind

TRANSFORM = "part of the transform {site} in {module}: its sums would lose the small coefficients"
SPECTRUM = "computed on the spectrum of {module}, whose mean outweighs all else"
LOWERING = "a constant of the lowering's own, not a layer of the network"


def sites_of(lowered: LoweredProgram) -> dict[str, str]:
    """Return name of node -> name of the transform site it belongs to."""
    found = {}
    for node in lowered.program.graph.nodes:
        site = node.meta.get("custom", {}).get(SITE)
        if site:
            found[node.name] = str(site)
    return found


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


def module_of(node: fx.Node) -> str:
    """Return the dotted path of the original module that a node of a lowered program came from."""
    return str(node.meta.get("custom", {}).get(MODULE, ""))


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
