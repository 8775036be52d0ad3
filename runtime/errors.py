"""The family of errors this toolkit raises on purpose.

Every error names what was wrong, where, and what to do next. The command line prints the message without a
traceback and exits with :attr:`FdikpEdgeError.exit_code` (2: bad use or bad input, 1: a check failed).
"""

from __future__ import annotations

from pathlib import Path


class FdikpEdgeError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns for it."""

    exit_code = 2


class BadInputError(FdikpEdgeError):
    """An argument or file from the user cannot be used."""


class SizeError(BadInputError):
    """A height or width the network cannot take; the message lists the nearest valid sizes."""


class ImageError(BadInputError):
    """A file that is not a readable photograph, or one outside the accepted bounds."""


class UnknownNameError(BadInputError):
    """A variant, target, precision or strategy that does not exist; the message lists those that do."""


class CheckpointError(BadInputError):
    """A weights file that is corrupt, oversized, unsafe, or does not fit the variant."""


class SourceError(BadInputError):
    """A network source that cannot be found, fails in its own code, or contradicts itself."""


class OnnxModelError(SourceError):
    """A PyTorch network is needed, and ``path`` is an ONNX file."""

    def __init__(self, path: Path) -> None:
        """Make the message of the path."""
        super().__init__(
            f"{path}: an ONNX file holds no PyTorch network, which this needs; give the network that it was "
            "exported from"
        )
        self.path = path


class OutputError(BadInputError):
    """The place to write to exists already, is an input, is full or cannot be written."""


class OutputExistsError(OutputError):
    """The place to write to exists already; it is replaced where the caller asks to overwrite."""


class ArtifactError(BadInputError):
    """A folder that is not an artifact, is incomplete, foreign, from a newer version, or was altered."""


class FieldError(ArtifactError):
    """One field of a passport, or of a record that is read like one, is missing or not what it must be.

    ``where`` names the field, ``problem`` says what is wrong with it.
    """

    def __init__(self, record: str, where: str, problem: str) -> None:
        """Make the message of the record's file name, the field and the problem."""
        super().__init__(f"{record}: {where}: {problem}")
        self.where = where
        self.problem = problem


class RunError(FdikpEdgeError):
    """A model that was loaded fails while it runs: because memory ran out, or by a value it cannot take."""


class BundleError(BadInputError):
    """A bundle for a device that is damaged, altered, foreign, from a newer version, or unsafe to unpack."""


class LoweringError(BadInputError):
    """The network cannot be lowered; names the operator and the module path."""


class UnsupportedOperatorError(LoweringError):
    """An operator on complex values has no rule."""


class LoweringFaultError(LoweringError):
    """The lowering itself is at fault: a rule failed, or what it computes is not what the network does."""


class DynamicShapeError(LoweringError):
    """The program has shapes or control flow that are not fixed at export."""


class CalibrationError(BadInputError):
    """Photos that cannot be calibrated with, or a calibration table that is damaged or not for this."""


class ReportError(BadInputError):
    """A file that is no report of a run, is damaged or too large, or does not fit what it is used with."""


class BaselineError(BadInputError):
    """A baseline that is missing, damaged, from another version, or does not fit what it is compared with."""


class TargetUnavailableError(FdikpEdgeError):
    """A target cannot be built or run on this machine; the message says what is missing."""


class ExtensionError(TargetUnavailableError):
    """An installed package adds a target that cannot be used; names the distribution and what is wrong."""


class ExtensionWarning(UserWarning):
    """The same, where the work goes on without that target."""


class DeviceError(FdikpEdgeError):
    """A graphics processor or its driver failed at work; ``code`` is the CUDA error (0: not one)."""

    def __init__(self, message: str, code: int = 0) -> None:
        """Keep the message and the CUDA error's number."""
        super().__init__(message)
        self.code = code


class CheckFailedError(FdikpEdgeError):
    """A budget or a check failed: the input was fine, the result is not."""

    exit_code = 1
