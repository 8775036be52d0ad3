"""How ExecuTorch's own ``executor_runner`` runs an artifact on a phone.

Its flags and the lines of its log are those of ``examples/portable/executor_runner/executor_runner.cpp``,
which are the same in ExecuTorch 1.4.1 and in the source that 1.5 was made from.
"""

from __future__ import annotations

from ...runtime.artifact import Artifact
from ...runtime.errors import ArtifactError, BadInputError
from ...runtime.outside.files import read_bounded
from ...runtime.outside.flatbuffer import MAX_BYTES
from ...runtime.outside.pte import METHOD, XNNPACK, read_pte
from ..device.android.phone_run import PhoneLog, PhoneRun, input_file, words

DRIVEN = (XNNPACK, "VulkanBackend")
"""Delegates that ``executor_runner`` has on Android, if it was built with them."""
OUTPUT = "output"
WARMUP = 5
_TIME = "Iteration {} of [0-9]+: ([0-9.]+) ms"
LOG = PhoneLog(_TIME.format("[0-9]+"), _TIME.format("1"), 1.0, WARMUP)


def phone_run(artifact: Artifact) -> PhoneRun:
    """Return how ``executor_runner`` runs an artifact.

    The file has a second method, so the network's is named. The program writes a file for each output. Built
    for Android it logs to the system's log, where the lines of its process are taken from.

    Raises:
        ArtifactError: the file is damaged.
        BadInputError: it needs a delegate that this program does not have on Android.
    """
    passport = artifact.passport
    try:
        program = read_pte(read_bounded(artifact.model_path, MAX_BYTES, ArtifactError))
    except ValueError as error:
        raise ArtifactError(f"{artifact.model_path}: not a usable .pte file: {error}") from error
    if others := sorted(set(program.delegates) - set(DRIVEN)):
        raise BadInputError(
            f"{artifact.path}: needs {', '.join(others)[:200]}, and executor_runner on Android has only "
            f"{' and '.join(DRIVEN)}; build it with another delegate"
        )
    own = words(
        [
            f"--model_path={passport.model_file}",
            f"--method_name={METHOD}",
            f"--inputs={','.join(map(input_file, range(len(passport.inputs))))}",
            f"--output_file={OUTPUT}",
            "--print_output=none",
        ]
    )
    start = f"$TOOL --cpu_threads=$THREADS --num_executions=$((RUNS + {WARMUP})) {own} & pid=$!"
    end = "wait $pid; status=$?; logcat -d -v raw --pid=$pid -s ExecuTorch 2>/dev/null; exit $status"
    outputs = tuple(f"{OUTPUT}-{number}.bin" for number in range(len(passport.outputs)))
    return PhoneRun("executor_runner", f"{start}; {end}", outputs, LOG)
