"""Builds one engine in a process of its own: ``python -m fdikp_edge.runtime.device.builder FOLDER``.

``FOLDER`` holds ``request.json`` (:class:`.process.Request`); ``answer.json`` is written there. Where the
process ends without that file, it was killed or crashed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..errors import FdikpEdgeError, TargetUnavailableError
from ..tensorrt.cuda import open_cuda
from ..tensorrt.features import features_of_module
from .build import Settings, build
from .build_log import BuildLog
from .memory import peak_mb
from .missing import tensorrt_module
from .process import ANSWER, REQUEST, Answer, Request

_OOM_SCORE = Path("/proc/self/oom_score_adj")
_FIRST = "500"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)


def main(folder: Path) -> int:
    """Read the request in ``folder``, build, and write the answer there."""
    die_with_parent(os.getppid())
    with contextlib.suppress(OSError):
        _OOM_SCORE.write_text(_FIRST)  # if memory runs out, the builder ends, not the desktop or the parent
    request = Request(**json.loads((folder / REQUEST).read_text(encoding="utf-8")))
    answer = Answer()
    try:
        _build(request, answer)
    except FdikpEdgeError as error:
        answer.kind, answer.problem = type(error).__name__, str(error)
    except OSError as error:
        answer.unwritten = error.errno or errno.EIO
    with contextlib.suppress(TargetUnavailableError):
        answer.peak_mb = round(peak_mb(), 1)
    (folder / ANSWER).write_text(json.dumps(asdict(answer)), encoding="utf-8")
    return 0


def _build(request: Request, answer: Answer) -> None:
    trt, device = tensorrt_module(), open_cuda().device()
    features = features_of_module(trt)
    answer.version = str(trt.__version__)
    answer.device, answer.capability = device.name, device.capability
    source = Artifact.open(request.artifact)
    weak: Any = request.weak
    settings = Settings(weak=weak, workspace_mib=request.workspace_mib)
    timings = None if request.timings is None else Path(request.timings).read_bytes()
    onnx = source.read(source.passport.model_file, source.model_path.stat().st_size)
    log = BuildLog()
    with log.all_into(Path(request.log)):
        built = build(trt, features, onnx, source, settings, timings, log)
    Path(request.engine).write_bytes(built.engine)
    if built.timing_cache is not None:
        Path(request.learnt).write_bytes(built.timing_cache)


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when its parent ends (Linux): nobody would read its answer."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before that was asked for
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
