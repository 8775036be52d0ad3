"""The Python packages that the project is built on: what each is for, and how it is installed.

Those here are shared; the packages of one target are in its row (:class:`fdikp_edge.export.target.Target`). A
device has this room alone, so the table is here.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from dataclasses import dataclass
from typing import Any

BASE = "base"
"""What :attr:`Requirement.extra` is for packages that every installation has."""


@dataclass(frozen=True)
class Requirement:
    """A Python module that something needs.

    Args:
        module: as it is imported.
        distribution: the name it installs under.
        minimum: the oldest version that works; empty if any does.
        install: what to tell a user who lacks it; made from the other fields if empty.
        extra: which extra of fdikp-edge installs it; :data:`BASE`, or empty if none does.
        use: what it is for, in words.
    """

    module: str
    distribution: str
    minimum: str = ""
    install: str = ""
    extra: str = ""
    use: str = ""

    @property
    def cure(self) -> str:
        """How to install it: a command, or a sentence where no command does."""
        if self.install:
            return self.install
        if self.extra in ("", BASE):
            return f"pip install {self.distribution}"
        return f'pip install "fdikp-edge[{self.extra}]"'

    def problem(self) -> str | None:
        """Say why the module cannot be used here, or ``None``. Looks it up without importing it."""
        version = self.version()
        if version is None:
            return f"{self.module} is not installed ({self.cure})"
        if version and _numbers(version) < _numbers(self.minimum):
            return f"{self.module} {version} is older than {self.minimum} ({self.cure})"
        return None

    def version(self) -> str | None:
        """Return the installed version, ``None`` if the module is not there.

        Empty where it is installed under another name, such as onnxruntime-gpu or a vendor's build.
        """
        if importlib.util.find_spec(self.module) is None:
            return None
        from importlib import metadata  # takes a tenth of the time that --help has

        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return ""


NUMPY = Requirement("numpy", "numpy", extra=BASE, use="arrays")
PILLOW = Requirement("PIL", "pillow", extra=BASE, use="reading and writing photos")
ONNXRUNTIME = Requirement("onnxruntime", "onnxruntime", "1.23", extra=BASE, use="running onnx artifacts")
TORCH = Requirement("torch", "torch", "2.9", extra="export", use="the network and its reference results")
ONNX = Requirement("onnx", "onnx", "1.18", extra="export", use="building")
ONNXSCRIPT = Requirement("onnxscript", "onnxscript", "0.7", extra="export", use="building")
ONNXSIM = Requirement("onnxsim", "onnxsim", "0.6.2", extra="export", use="simplifying the ONNX graph")
SAFETENSORS = Requirement("safetensors", "safetensors", extra="export", use="reading weights")
JINJA2 = Requirement("jinja2", "jinja2", extra="report", use="report.html")
CRYPTOGRAPHY = Requirement("cryptography", "cryptography", "42", extra="sign", use="signatures of artifacts")

SHARED = (NUMPY, PILLOW, ONNXRUNTIME, TORCH, ONNX, ONNXSCRIPT, ONNXSIM, SAFETENSORS, JINJA2, CRYPTOGRAPHY)
"""All of them, in the order tables list them."""


def attribute(name: str, home: str, package: str) -> Any:
    """Return what a room imports when it is first asked for.

    Args:
        name: of the attribute.
        home: the module that has it, relative to the room.
        package: the room.

    Raises:
        ModuleNotFoundError: a library that it needs is not installed; says which, and how to install it.
    """
    try:
        return getattr(importlib.import_module(home, package), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        need = next((need for need in SHARED if need.module == missing), None)
        if need is None:
            raise
        problem = f"{package}.{name} needs {missing}, which is not installed here: {need.cure}"
    # Outside the handler: the traceback then ends here and not inside the import that failed.
    raise ModuleNotFoundError(problem, name=missing)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``2.13.0+cpu`` -> (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
