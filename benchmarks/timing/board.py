"""Which board and NVIDIA software this is: read from files and libraries that everybody may read."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
from pathlib import Path

from ...runtime import strict_json
from ...runtime.errors import BadInputError, DeviceError, TargetUnavailableError
from ...runtime.outside.files import read_bounded
from ...runtime.strict_json import printable
from ...runtime.tensorrt.cuda import Cuda, open_cuda

ROOT = Path("/")
_MODEL, _RELEASE, _TOOLKIT = "proc/device-tree/model", "etc/nv_tegra_release", "usr/local/cuda/version.json"
_L4T = re.compile(r"#\s*R(\d{1,3}) \(release\), REVISION: (\d{1,3}(?:\.\d{1,3})*)")
_MAX_BYTES = 1 << 16


def board(root: Path = ROOT) -> dict[str, str]:
    """Return what is known of: ``board`` (from the device tree), ``l4t`` (Jetson Linux), ``gpu``, ``cuda``,
    ``tensorrt``. A key whose value this machine does not tell is left out.

    ``root`` is where the files are looked for; library and driver are always this machine's.
    """
    facts = {
        "board": _text(root / _MODEL).strip("\0 \n"),
        "l4t": l4t(_text(root / _RELEASE)),
        "gpu": "",
        "cuda": _toolkit(root / _TOOLKIT),
        "tensorrt": _tensorrt(),
    }
    with contextlib.suppress(TargetUnavailableError, DeviceError):
        cuda = open_cuda()
        facts["gpu"] = cuda.name()
        facts["cuda"] = ", ".join(filter(None, (_libraries(cuda), facts["cuda"])))
    return {key: printable(value)[:200] for key, value in facts.items() if value}


def l4t(text: str) -> str:
    """Return Jetson Linux's version from ``/etc/nv_tegra_release``: ``36.4.3``; empty where it has none."""
    match = _L4T.match(text)
    return "" if match is None else f"{match[1]}.{match[2]}"


def _toolkit(file: Path) -> str:
    """Return ``toolkit 12.6.68`` from the file that NVIDIA's packages leave beside the compiler."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return f"toolkit {strict_json.parse(_text(file).encode())['cuda']['version']}"
    return ""


def _libraries(cuda: Cuda) -> str:
    driver, runtime = (".".join(map(str, version)) for version in cuda.versions())
    return f"driver {driver}, runtime {runtime}"


def _tensorrt() -> str:
    """Return the version of the module, which is not imported for this."""
    module = sys.modules.get("tensorrt")
    if module is not None:
        return str(getattr(module, "__version__", ""))
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("tensorrt")
    return ""


def _text(file: Path) -> str:
    with contextlib.suppress(BadInputError):
        return read_bounded(file, _MAX_BYTES).decode("utf-8", errors="replace")
    return ""
