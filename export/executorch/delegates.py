"""What may compute an ExecuTorch program's operators, by the value of the option ``delegate``.

XNNPACK is part of ExecuTorch and is verified on this project's machines. The others are written as their
documentation says; this project has no device to run them on, so that their artifacts stay unverified.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from ...runtime.errors import TargetUnavailableError

_TOOLS = {
    "xnnpack": 'ExecuTorch: pip install "fdikp-edge[executorch]"',
    "coreml": "coremltools, and for running an Apple device",
    "vulkan": "ExecuTorch's Vulkan partitioner, and for running an Android device with Vulkan",
    "qnn": "Qualcomm's AI Engine Direct SDK (QNN_SDK_ROOT), and for running a Snapdragon device",
}


def open_delegate(name: str) -> Any:
    """Return the partitioner that hands operators to a delegate.

    Raises:
        TargetUnavailableError: its tools are not installed, or do not load here; says what they are.
    """
    try:
        return _OPENERS[name]()
    except (ImportError, OSError, RuntimeError, AttributeError, KeyError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise TargetUnavailableError(
            f"target executorch: the delegate {name} cannot be used here ({lines[0][:200]}); it needs "
            f"{_TOOLS[name]}"
        ) from error


def _xnnpack() -> Any:
    module = importlib.import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    return module.XnnpackPartitioner()


def _coreml() -> Any:
    return importlib.import_module("executorch.backends.apple.coreml.partition").CoreMLPartitioner()


def _vulkan() -> Any:
    module = importlib.import_module("executorch.backends.vulkan.partitioner.vulkan_partitioner")
    return module.VulkanPartitioner()


def _qnn() -> Any:
    if not os.environ.get("QNN_SDK_ROOT"):  # its modules load without the SDK, and fail in the middle
        raise RuntimeError("QNN_SDK_ROOT is not set")
    partition = importlib.import_module("executorch.backends.qualcomm.partition.qnn_partitioner")
    utils = importlib.import_module("executorch.backends.qualcomm.utils.utils")
    schema = importlib.import_module("executorch.backends.qualcomm.serialization.qc_schema")
    backend = utils.generate_htp_compiler_spec(use_fp16=True)
    specs = utils.generate_qnn_executorch_compiler_spec(
        soc_model=schema.QcomChipset.SM8650, backend_options=backend
    )
    return partition.QnnPartitioner(specs)


_OPENERS = {"xnnpack": _xnnpack, "coreml": _coreml, "vulkan": _vulkan, "qnn": _qnn}
