"""The lines for people who trust only ``trtexec``, with the flags of the TensorRT that they have.

TensorRT 10 takes types from the file only with ``--stronglyTyped``, and from ``--fp16``, ``--int8`` and
``--calib`` without. TensorRT 11 knows none of these: every network is strongly typed [1]. Their measurements
differ unless told: 10 counts copies to and from the device and waits asleep [2], 11 leaves copies out, spins,
and captures a CUDA graph [3]. So every line here says which it wants, and two of them can be compared.

[1] docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/tensorrt-10x-to-11x-trtexec.html
[2] docs.nvidia.com/deeplearning/tensorrt/10.8.0/reference/command-line-programs.html
[3] docs.nvidia.com/deeplearning/tensorrt-rtx/latest/performance/best-practices.html says so of the tool that
    shares its source (--includeDataTransfers, --noSpinWait), and a user's runs of 11.0.0.114 agree.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from .. import strict_json
from ..artifact import Artifact
from ..tensorrt.features import Features, features_of
from .build import CACHE_FILE, MAX_LAYERS_BYTES, float32_layers_file

VERSIONS = ("10.3", "11.4")
"""What lines are shown for where no TensorRT is at hand: JetPack 6's, and the newest known."""


PLACES = ("/usr/src/tensorrt/bin",)
"""Where the program is on Jetson Linux and in NVIDIA's packages, beside the search path."""
TIMING_CACHE = "trtexec.cache"
"""Beside the engines. The program reads and writes the bare timings; those of :mod:`..tensorrt.caches` have a
digest before them, so they are in a file of another name."""


def lines(
    artifact: Artifact,
    features: Features,
    out: Path,
    *,
    weak: str | None = None,
    workspace_mib: int | None = None,
) -> tuple[str, str]:
    """Return the line that builds an engine and the one that measures it.

    Args:
        artifact: holds the ONNX file.
        features: of the TensorRT meant.
        out: folder for the engine and the timing cache.
        weak: ``fp16`` or ``int8``: choose types by flags, where the release still can; see :mod:`.build`.
        workspace_mib: most memory for one layer; TensorRT's own choice when ``None``.
    """
    engine = out / f"{artifact.path.name}.engine"
    words = [
        f"--onnx={artifact.model_path}",
        f"--saveEngine={engine}",
        f"--timingCacheFile={out / TIMING_CACHE}",
        "--profilingVerbosity=detailed",
        "--skipInference",
        "--noTF32",  # ten bits of mantissa are not float32
    ]
    if workspace_mib is not None:
        words.append(f"--memPoolSize=workspace:{workspace_mib}")
    run = [
        f"--loadEngine={engine}",
        "--duration=60",
        "--iterations=1024",
        "--warmUp=2000",
        "--percentile=50,90,99",
    ]
    if not features.has_weak_typing:  # 11
        return _line(words), _line([*run, "--includeDataTransfers"])
    if weak:
        words += _flags(artifact, weak)
    else:
        words.append("--stronglyTyped")
    return _line(words), _line([*run, "--useSpinWait", "--useCudaGraph"])


def for_versions(
    artifacts: Sequence[Artifact], out: Path, *, weak: str | None = None, places: Sequence[str] = PLACES
) -> list[str]:
    """Return a shell script: what the lines need, then those of every artifact for :data:`VERSIONS`.

    The program does not make the folder it writes to, and is found where it is not on the search path.
    """
    script = [
        f"mkdir -p {shlex.quote(str(out))}",
        f'PATH="$PATH:{":".join(places)}"',
    ]
    for version in VERSIONS:
        features = features_of("tensorrt", version)
        major = version.partition(".")[0]
        if weak and not features.has_weak_typing:
            script.append(f"# TensorRT {major} chooses no types by flags: build from the {weak} file instead")
            continue
        for artifact in artifacts:
            build, run = lines(artifact, features, out, weak=weak)
            script += [f"# TensorRT {major}: {artifact.path.name}", build, run]
    return script


def _flags(artifact: Artifact, weak: str) -> list[str]:
    flags = ["--fp16"]
    if weak == "int8":
        flags += ["--int8", f"--calib={artifact.path / CACHE_FILE}"]
    if (file := float32_layers_file(artifact)) is not None:
        float32_layers = strict_json.parse(artifact.read(file, MAX_LAYERS_BYTES))
        if float32_layers:
            flags.append("--precisionConstraints=prefer")
            flags.append("--layerPrecisions=" + ",".join(f"{name}:fp32" for name in float32_layers))
    return flags


def _line(words: Sequence[str]) -> str:
    return "trtexec " + " ".join(shlex.quote(word) for word in words)
