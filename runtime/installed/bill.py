"""The software bill of materials of this process: which package versions made a result, as CycloneDX JSON.

Of https://cyclonedx.org/docs/1.6/json/ only what is known here: names, versions, package URLs, and which
package asks for which. Licences and hashes of packages are not in it.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from typing import Any

ROOT = "fdikp-edge"
SPEC = "1.6"
"""The version of CycloneDX."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NOT_SHIPPED = "dev"


def packages() -> dict[str, str]:
    """Return name -> version of the installed packages that fdikp-edge uses.

    Those that others pull in are included. fdikp-edge is the first, the rest are sorted. Extras count where
    their packages are installed; the extra ``dev``, which only tests use, does not.
    """
    tree = _tree()
    return {name: version for name, (version, _) in tree.items()}


def bill(created: str) -> dict[str, Any]:
    """Return the CycloneDX document as plain JSON values.

    Args:
        created: when, as ISO 8601 text with a time zone.
    """
    tree = _tree()
    components = [_component(name, version) for name, (version, _) in tree.items()]
    root, others = components[0], components[1:]
    root["type"] = "application"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {"timestamp": created, "component": root},
        "components": others,
        "dependencies": [
            {
                "ref": _reference(name, version),
                "dependsOn": [_reference(other, tree[other][0]) for other in needs],
            }
            for name, (version, needs) in tree.items()
        ],
    }


def _component(name: str, version: str) -> dict[str, Any]:
    reference = _reference(name, version)
    return {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference}


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"


def _tree() -> dict[str, tuple[str, list[str]]]:
    """Return name -> version and the installed packages that it asks for, the root first."""
    known: dict[str, tuple[str, list[str]]] = {}
    waiting = [ROOT]
    while waiting:
        name = waiting.pop()
        if name in known:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        needs = sorted(set(_needs(distribution, all_extras=name == ROOT)) - {name})
        known[name] = (distribution.version, needs)
        waiting += needs
    return {
        name: (version, [need for need in needs if need in known])
        for name, (version, needs) in sorted(known.items(), key=lambda entry: (entry[0] != ROOT, entry[0]))
    }


def _needs(distribution: importlib.metadata.Distribution, *, all_extras: bool) -> Iterator[str]:
    """Yield the normalised names that a distribution asks for, whether they are installed or not."""
    for line in distribution.requires or ():
        requirement, _, marker = line.partition(";")
        extras = _EXTRA.findall(marker)
        if (name := _NAME.match(requirement.strip())) is None or (extras and not all_extras):
            continue
        if _NOT_SHIPPED not in extras:
            yield re.sub(r"[-_.]+", "-", name[0]).lower()
