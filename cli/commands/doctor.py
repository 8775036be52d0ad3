"""``fdikp-edge doctor``: what this machine can build and run, and what would change that."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
from typing import Any

from .. import show
from ..options import JsonOption

# Distribution -> (module, extra that brings it, what it is for). The base brings what has no extra.
_PACKAGES = {
    "numpy": ("numpy", "", "arrays"),
    "pillow": ("PIL", "", "reading and writing photos"),
    "onnxruntime": ("onnxruntime", "", "running onnx artifacts"),
    "openvino": ("openvino", "openvino", "building and running openvino artifacts"),
    "torch": ("torch", "export", "the network and its reference results"),
    "onnx": ("onnx", "export", "building"),
    "onnxscript": ("onnxscript", "export", "building"),
    "onnxsim": ("onnxsim", "export", "simplifying the ONNX graph"),
    "safetensors": ("safetensors", "export", "reading weights"),
    "jinja2": ("jinja2", "report", "report.html"),
    "coremltools": ("coremltools", "coreml", "building coreml artifacts, and running them on a Mac"),
    "tensorrt-rtx-cu13": ("tensorrt_rtx", "tensorrt-rtx", "building and running tensorrt-rtx artifacts"),
    "polygraphy": ("polygraphy", "tensorrt", "building tensorrt and tensorrt-rtx artifacts"),
}


def doctor(json: JsonOption = False) -> int:
    """Show what this machine can build and run.

    Lists installed packages, the targets that can be built and run here, the reason for each one that cannot,
    and what to install.
    """
    with show.working("examining this machine"):
        found = examine()
    if json:
        show.as_json(found)
        return 0
    machine = {"fdikp-edge": found["version"], **found["machine"]}
    machine.pop("versions", None)  # the table of packages has them
    show.facts("This machine", [(name.replace("_", " "), _text(value)) for name, value in machine.items()])
    show.table(
        "Targets",
        ("target", "description", "precisions", "can build", "can run", "remarks"),
        [
            (
                t["name"],
                t["title"],
                " ".join(t["precisions"]),
                _yes(t["can_build"]),
                _yes(t["can_run"]),
                "; ".join(filter(None, (t["reason"], t["run_remark"] if t["can_run"] else ""))),
            )
            for t in found["targets"]
        ],
    )
    show.table(
        "Packages",
        ("package", "version", "extra", "for"),
        [
            (p["name"], p["version"] or "not installed", p["extra"] or "base", p["for"])
            for p in found["packages"]
        ],
    )
    for advice in found["advice"]:
        show.line(f"- {advice}")
    return 0


def examine() -> dict[str, Any]:
    """Return what :func:`doctor` shows, as plain values: version, machine, targets, packages, advice."""
    from ...benchmarks.timing.machine import machine_info
    from ...export.targets import TARGETS, capability

    packages = [
        {"name": name, "version": _version(name, module), "extra": extra, "for": use}
        for name, (module, extra, use) in _PACKAGES.items()
    ]
    targets = []
    advice = []
    for target in TARGETS.values():
        here = capability(target)
        reasons = [here.reason] if here.reason else []
        # Only loading a runtime tells whether its native libraries fit this machine.
        broken = (
            [problem for need in target.run_needs if (problem := _load_problem(need.module))]
            if here.can_run
            else []
        )
        targets.append(
            {
                "name": target.name,
                "title": target.title,
                "precisions": list(target.precisions),
                "can_build": here.can_build and not broken,
                "can_run": here.can_run and not broken,
                "reason": "; ".join(reasons + broken),
                "run_remark": target.run_remark,
            }
        )
    missing = {
        p["extra"]
        for p in packages
        if p["version"] is None and p["extra"] in ("export", "openvino", "report")
    }
    for extra, gain in (
        ("export", "builds artifacts here (an artifact built elsewhere runs without it)"),
        ("openvino", "adds the openvino target, often the fastest on an Intel or AMD processor"),
        ("report", "adds report.html to deploy"),
    ):
        if extra in missing:
            advice.append(f'pip install "fdikp-edge[{extra}]" {gain}')
    if not advice:
        advice.append("Nothing is missing for the targets of this release. Try: fdikp-edge deploy")
    return {
        "version": importlib.metadata.version("fdikp-edge"),
        "machine": machine_info(),
        "targets": targets,
        "packages": packages,
        "advice": advice,
    }


def _version(distribution: str, module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "version unknown"  # under another name, such as onnxruntime-gpu or a vendor's build


def _load_problem(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a native library raises when it does not fit this machine
        return f"{module} is installed but does not load on this {platform.machine()}: {error}"
    return None


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
