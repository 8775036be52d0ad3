"""How LiteRT's own ``benchmark_model`` runs an artifact on a phone."""

from __future__ import annotations

from ...runtime.artifact import Artifact
from ...runtime.errors import ArtifactError, BadInputError
from ...runtime.outside.files import read_bounded
from ...runtime.outside.tflite import read_tflite
from ...runtime.strict_json import parse
from ..device.android.phone_run import PhoneLog, PhoneRun, input_file, words

MAX_MODEL_BYTES = 2**31 - 1
OUTPUT = "output.bin"
LOG = PhoneLog(r"Inference \(avg\): ([0-9.e+]+)", r"First inference: ([0-9.e+]+)", 0.001)


def phone_run(artifact: Artifact) -> PhoneRun:
    """Return how ``benchmark_model`` runs an artifact, on the delegate that the file's metadata ask for.

    Raises:
        ArtifactError: the file is damaged.
        BadInputError: the name of an input that this program cannot be given.
    """
    passport = artifact.passport
    names = [contract.name for contract in passport.inputs]
    shapes = [",".join(map(str, contract.shape)) for contract in passport.inputs]
    if bad := next((name for name in names if "," in name), None):
        raise BadInputError(f"{artifact.path}: input {bad!r}: benchmark_model takes no name with a comma")
    # A colon ends the name, unless it is doubled (ParseInputLayerValueFiles of benchmark_tflite_model.cc).
    values = [f"{name.replace(':', '::')}:{input_file(number)}" for number, name in enumerate(names)]
    own = words(
        [
            f"--graph={passport.model_file}",
            "--warmup_runs=5",
            _delegate(artifact),
            f"--input_layer={','.join(names)}",
            f"--input_layer_shape={':'.join(shapes)}",
            f"--input_layer_value_files={','.join(values)}",
            f"--output_filepath={OUTPUT}",
            "--report_peak_memory_footprint=true",
        ]
    )
    return PhoneRun("benchmark_model", f"$TOOL --num_threads=$THREADS --num_runs=$RUNS {own}", (OUTPUT,), LOG)


def _delegate(artifact: Artifact) -> str:
    try:
        model = read_tflite(read_bounded(artifact.model_path, MAX_MODEL_BYTES, ArtifactError))
        facts = parse(model.metadata.get("fdikp_edge", b"{}"))
        delegate = facts.get("delegate", "cpu") if isinstance(facts, dict) else "cpu"
    except ValueError as error:
        raise ArtifactError(f"{artifact.model_path}: not a usable .tflite file: {error}") from error
    return {"gpu": "--use_gpu=true", "nnapi": "--use_nnapi=true"}.get(str(delegate), "--use_xnnpack=true")
