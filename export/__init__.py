"""From a traced network to a file per target: the spectral lowering, the target table, one builder each.

What most callers need is here; it is imported when first asked for, so that the target table can be read
without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..runtime.installed.packages import attribute

if TYPE_CHECKING:
    from .build import build_artifact as build_artifact
    from .build import export_artifact as export_artifact
    from .build import reference_for as reference_for
    from .contracts import Deployable as Deployable
    from .lowered import LoweredModel as LoweredModel
    from .lowered import lower_model as lower_model
    from .profile import Profile as Profile
    from .reference import Reference as Reference
    from .spectral import Audit as Audit
    from .spectral import LoweredProgram as LoweredProgram
    from .spectral import Plan as Plan
    from .spectral import lower as lower
    from .target import BuildResult as BuildResult
    from .target import Target as Target
    from .targets import TARGETS as TARGETS
    from .targets import get_target as get_target

_HOMES = {
    **dict.fromkeys(("LoweredModel", "lower_model"), ".lowered"),
    **dict.fromkeys(("build_artifact", "export_artifact", "reference_for"), ".build"),
    "Deployable": ".contracts",
    "Reference": ".reference",
    **dict.fromkeys(("Audit", "LoweredProgram", "Plan", "lower"), ".spectral"),
    "Profile": ".profile",
    **dict.fromkeys(("BuildResult", "Target"), ".target"),
    **dict.fromkeys(("TARGETS", "get_target"), ".targets"),
}

__all__ = [
    "TARGETS",
    "Audit",
    "BuildResult",
    "Deployable",
    "LoweredModel",
    "LoweredProgram",
    "Plan",
    "Profile",
    "Reference",
    "Target",
    "build_artifact",
    "export_artifact",
    "get_target",
    "lower",
    "lower_model",
    "reference_for",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return attribute(name, _HOMES[name], __name__)
