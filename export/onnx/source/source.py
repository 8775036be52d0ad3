"""An ONNX file as a network source, and ``lower`` for files: read, rewrite, check, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ....runtime.errors import BadInputError, FdikpEdgeError, LoweringError, OutputError
from ....runtime.files import check_place, replacing
from .check import RewriteCheck, check_rewriting
from .ports import Port, fix_sizes, inputs_of, outputs_of
from .read import read_model
from .reference import OnnxReference
from .rewrite import RewrittenNode, rewrite_transforms

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class OnnxSource:
    """An ONNX file that somebody else exported.

    ``original`` is the file with its external tensors inside; ``plain`` has no transforms. Both have the
    sizes that the caller fixed. ``sha256`` is of the file and the files it names.
    """

    path: Path
    original: onnx.ModelProto
    plain: onnx.ModelProto
    sha256: str
    rewritten: tuple[RewrittenNode, ...]

    @property
    def name(self) -> str:
        """What artifacts are called."""
        return self.path.stem

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """What a caller feeds."""
        return inputs_of(self.plain)

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """What comes out."""
        return outputs_of(self.plain)

    @cached_property
    def reference(self) -> OnnxReference:
        """What runs the original."""
        return OnnxReference(self.original)

    def check(self) -> RewriteCheck:
        """Run the plain model against the original on noise."""
        return check_rewriting(self.original, self.plain)

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the plain model as one file, whole or not at all.

        Raises:
            OutputError: ``path`` exists, is the source, or cannot be written.
        """
        check_destination(self.path, path, overwrite=overwrite)
        data: bytes = self.plain.SerializeToString(deterministic=True)
        with replacing(path) as temporary:
            temporary.write_bytes(data)


def check_destination(source: Path, path: Path, *, overwrite: bool = False) -> None:
    """Say before the work that its result could not be written to ``path``.

    Raises:
        OutputError: it exists, is the source, or cannot be written.
    """
    check_place(path, overwrite=overwrite)
    if path.exists() and source.exists() and path.samefile(source):
        raise OutputError(f"{path}: is the file that is read; write to another place")


def load_onnx_source(path: str | Path, sizes: Mapping[str, tuple[int, ...]] | None = None) -> OnnxSource:
    """Read an ONNX file and rewrite its transforms.

    Args:
        path: a file of untrusted origin; tensors in other files are read from its folder only.
        sizes: name of an input -> its sizes, for those that the file leaves open.

    Raises:
        BadInputError: missing, too large, not valid ONNX, names files outside its folder, or ``sizes`` do not
            fit.
        LoweringError: a transform that cannot be rewritten; names the node.
    """
    import onnx

    file = Path(path)
    original, sha256 = read_model(file)
    try:
        inputs_of(original), outputs_of(original)
        fix_sizes(original, sizes or {})
        plain = onnx.ModelProto()
        plain.CopyFrom(original)
        plain, rewritten = rewrite_transforms(plain)
    except FdikpEdgeError as error:
        raise type(error)(f"{file}: {error}") from error
    try:
        onnx.checker.check_model(plain)
    except Exception as error:  # its errors share no base class
        lines = str(error).splitlines() or ["no message"]
        raise LoweringError(f"{file}: the rewritten model is not valid ONNX: {lines[0]}") from error
    source = OnnxSource(file, original, plain, sha256, tuple(rewritten))
    _check_types(source)
    return source


def _check_types(source: OnnxSource) -> None:
    """Refuse a file whose types contradict each other, where ONNX Runtime refuses it too.

    PyTorch's exporter writes such files: an ``istft`` becomes a ``ScatterND`` with indices of 32 bits, where
    the operator takes 64. What ONNX Runtime opens is taken as it is: some shapes in files are merely stale.

    Raises:
        BadInputError: so it is; names the node.
    """
    import onnx

    problem = source.reference.runtime_problem
    if not problem:
        return
    try:
        onnx.checker.check_model(source.original, full_check=True)
    except Exception as error:  # its errors share no base class
        words = " ".join(str(error).split())
        raise BadInputError(
            f"{source.path}: not valid ONNX ({words:.200}), and ONNX Runtime refuses it too. Deploy the "
            "network itself instead (net.py:Net), or mend what exported the file"
        ) from error
