"""Exactly what keeps this machine from building TensorRT engines: module, library, driver, GPU."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path
from types import ModuleType

from ..errors import TargetUnavailableError
from ..tensorrt.cuda import gpu_problem

_RELEASE = Path("/etc/nv_tegra_release")


def tensorrt_module() -> ModuleType:
    """Import ``tensorrt``.

    Raises:
        TargetUnavailableError: it is not installed for this Python, or does not load here.
    """
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise TargetUnavailableError(_module_problem(error)) from error
    except (OSError, AttributeError, RuntimeError) as error:  # a library that it opens itself
        raise TargetUnavailableError(f"the Python module tensorrt does not load: {_first(error)}") from error


def problems() -> list[str]:
    """Return everything that is missing here, each with what to do; nothing where engines can be built."""
    reasons = []
    try:
        module = tensorrt_module()
    except TargetUnavailableError as error:
        reasons.append(str(error))
    else:
        if not hasattr(module, "OnnxParser"):
            reasons.append("this tensorrt has no ONNX parser; install the package with libnvonnxparser")
    if gpu := gpu_problem():
        reasons.append(gpu)
    return reasons


def _module_problem(error: ImportError) -> str:
    here = f"Python {platform.python_version()} ({sys.executable})"
    if error.name != "tensorrt":  # a shared library that the module needs
        return f"the Python module tensorrt does not load: {_first(error)}"
    advice = "It comes with JetPack: sudo apt install python3-libnvinfer"
    if _RELEASE.exists():
        advice += "; in a virtual environment, make that with --system-site-packages"
    return f"the Python module tensorrt is not installed for {here}. {advice}"


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
