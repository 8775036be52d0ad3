"""The nodes in the place of one ``DFT``, ``STFT`` or window node.

A node that cannot be rewritten is refused by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.errors import LoweringError
from .constants import WINDOWS, Scope, attributes
from .products import Array, Transform

if TYPE_CHECKING:
    import onnx

FLOAT = 1  # TensorProto.FLOAT
TRANSFORMS = ("DFT", "STFT")
LARGEST_MATRIX = 1 << 28
"""Bytes of one transform's matrix."""
LONGEST = 1 << 24
"""Points of a transform; longer ones are refused before anything is computed from their length."""

Store = Callable[[str, Callable[[], Array]], str]
"""Stores a constant under a key, once, and returns the name of its value."""


class UnknownSizeError(LoweringError):
    """A size that the rewriting needs is not known, or not yet: an earlier transform may stand before it."""


@dataclass
class Written:
    """The nodes in the place of one, and the transform they compute (none: a window), on which data.

    ``shape`` is the input's without the parts, of one frame for ``STFT``; ``axis`` is that of the transform.
    """

    nodes: list[onnx.NodeProto]
    transform: Transform | None = None
    shape: tuple[int | None, ...] = ()
    axis: int = 0


def is_ours(node: onnx.NodeProto) -> bool:
    """Whether a node is of an operator that is rewritten here."""
    return node.domain in ("", "ai.onnx") and node.op_type in (*TRANSFORMS, *WINDOWS)


def label(node: onnx.NodeProto) -> str:
    """Return what messages call a node."""
    return f"node {node.name or node.output[0]!r:.80} ({node.op_type})"


def rewrite(node: onnx.NodeProto, scope: Scope, store: Store, fresh: Callable[[str], str]) -> Written | None:
    """Return the nodes in the place of ``node``; ``None`` leaves it: a window whose size is not known.

    Raises:
        LoweringError: it cannot be rewritten; names the node and the reason.
    """
    if node.op_type in WINDOWS:
        return _window(node, scope)
    source = scope.type_of(node.input[0])
    if source.kind not in (0, FLOAT):
        from onnx import TensorProto

        kind = TensorProto.DataType.Name(source.kind).lower()
        raise _refused(node, f"it computes in {kind}, not float32; export the network in float32")
    if source.kind == 0 or source.shape is None:
        raise UnknownSizeError(f"{label(node)}: type and rank of {node.input[0]!r:.80} are not known")
    maker = _Maker(node, scope, store, fresh)
    return maker.dft(source.shape) if node.op_type == "DFT" else maker.stft(source.shape)


def _window(node: onnx.NodeProto, scope: Scope) -> Written | None:
    from onnx import helper, numpy_helper

    value = scope.value(node.output[0])
    if value is None:
        return None
    tensor = numpy_helper.from_array(value, node.output[0])
    return Written([helper.make_node("Constant", [], [node.output[0]], node.name, value=tensor)])


def _refused(node: onnx.NodeProto, why: str) -> LoweringError:
    return LoweringError(f"{label(node)}: {why}")


class _Maker:
    """Builds the nodes for one transform."""

    def __init__(self, node: onnx.NodeProto, scope: Scope, store: Store, fresh: Callable[[str], str]) -> None:
        self.node = node
        self.scope = scope
        self.store = store
        self.fresh = fresh
        self.nodes: list[onnx.NodeProto] = []
        self.stem = node.name or node.output[0]
        self.options = attributes(node)

    def dft(self, shape: tuple[int | None, ...]) -> Written:
        rank = len(shape)
        axis = self._axis(rank)
        size, parts = shape[axis], shape[-1]
        if parts not in (1, 2):
            if parts is None:
                raise self.unknown("whether its input is real or complex")
            raise self.refused(f"its input's last dimension is {parts}, neither 1 (real) nor 2 (complex)")
        if size is None:
            raise self.unknown(f"the size of its input along axis {axis}")
        inverse, one_sided = bool(self.options.get("inverse")), bool(self.options.get("onesided"))
        if one_sided and inverse != (parts == 2):
            raise self.refused(
                "a one-sided inverse transform takes complex values"
                if inverse
                else "a one-sided transform takes real values"
            )
        default = 2 * (size - 1) if inverse and one_sided else size
        length = self._scalar(1, "dft_length", default)
        half = length // 2 + 1
        transform = Transform(
            length,
            taken=min(size, half if inverse and one_sided else length),
            kept=half if one_sided and not inverse else length,
            parts_in=parts,
            parts_out=1 if inverse and one_sided else 2,
            inverse=inverse,
        )
        self._check(transform, size)
        self._products(shape, axis, transform)
        return Written(self.nodes, transform, shape[:-1], axis)

    def _products(self, shape: tuple[int | None, ...], axis: int, transform: Transform) -> None:
        """Bring the axis beside the parts, multiply, and bring it back."""
        rank, value = len(shape), self.node.input[0]
        if (size := shape[axis]) is not None and size > transform.taken:
            value = self._crop(value, axis, transform.taken)
        aside = [dim for dim in range(rank - 1) if dim != axis] + [axis, rank - 1]
        moved = aside != list(range(rank))
        if moved:
            value = self._add("Transpose", [value], "aside", perm=aside)
        leading = [0] * (rank - 2)  # copied from the input, whatever it is
        flat = [*leading, transform.taken * transform.parts_in]
        value = self._add("Reshape", [value, self._shape(flat)], "flat")
        matrix = self._constant(transform.name, lambda: transform.matrix().reshape(flat[-1], -1))
        value = self._add("MatMul", [value, matrix], "product")
        parted = self._shape([*leading, transform.kept, transform.parts_out])
        if not moved:
            self._add("Reshape", [value, parted], "parts", last=True)
            return
        value = self._add("Reshape", [value, parted], "parts")
        back = [aside.index(dim) for dim in range(rank)]
        self._add("Transpose", [value], "back", last=True, perm=back)

    def stft(self, shape: tuple[int | None, ...]) -> Written:
        """Write a strided convolution: each frame times window and matrix, for signals of any length."""
        rank, value = len(shape), self.node.input[0]
        parts = 1 if rank == 2 else shape[-1]
        if rank not in (2, 3) or parts not in (1, 2):
            if parts is None:
                raise self.unknown("whether its signal is real or complex")
            raise self.refused(f"its signal has the shape {list(shape)}, not batch, length and 1 or 2")
        one_sided = bool(self.options.get("onesided", 1))
        if one_sided and parts == 2:
            raise self.refused("a one-sided transform takes real values")
        step = self._scalar(1, "frame_step", None)
        window = self.node.input[2] if len(self.node.input) > 2 else ""
        known = self._window_shape(window)
        length = self._scalar(3, "frame_length", shape[1] if known is None else known[0])
        if known is not None and known != (length,):
            raise self.refused(f"its window has the shape {list(known)}, and a frame {length} samples")
        signal = shape[1]
        if step < 1 or (signal is not None and signal < length):
            raise self.refused(f"frames of {length} samples every {step} do not fit a signal of {signal}")
        kept = length // 2 + 1 if one_sided else length
        transform = Transform(length, length, kept, parts, 2, inverse=False)
        self._check(transform, length)
        if rank == 2:
            value = self._add("Unsqueeze", [value, self._shape([1])], "channels")
        else:
            value = self._add("Transpose", [value], "channels", perm=[0, 2, 1])
        kernels = self._kernels(transform, window)
        value = self._add("Conv", [value, kernels], "product", kernel_shape=[length], strides=[step])
        value = self._add("Transpose", [value], "frames", perm=[0, 2, 1])
        self._add("Reshape", [value, self._shape([0, 0, transform.kept, 2])], "parts", last=True)
        return Written(self.nodes, transform, (length,), 0)

    def _window_shape(self, window: str) -> tuple[int, ...] | None:
        if not window:
            return None
        value = self.scope.value(window)
        shape = self.scope.type_of(window).shape if value is None else value.shape
        if shape is None or None in shape:
            raise self.unknown(f"the length of its window {window!r:.80}")
        if len(shape) != 1:
            raise self.refused(f"its window has the shape {list(shape)}, not one dimension")
        return tuple(size for size in shape if size is not None)

    def _kernels(self, transform: Transform, window: str) -> str:
        """Return the name of the convolution's weights [kept * 2, parts, length], with the window inside."""

        def plain() -> Array:
            kernels = transform.matrix().transpose(2, 3, 1, 0)
            flat: Array = kernels.reshape(-1, transform.parts_in, transform.length)
            return flat

        values = self.scope.value(window) if window else None
        if not window:
            return self._constant(f"stft_{transform.name}", plain)
        if values is None:
            kernels = self._constant(f"stft_{transform.name}", plain)
            return self._add("Mul", [kernels, window], "windowed")
        given = values.astype(np.float64)
        digest = hashlib.sha256(given.tobytes()).hexdigest()[:8]
        return self._constant(f"stft_{transform.name}_{digest}", lambda: (plain() * given).astype(np.float32))

    def _axis(self, rank: int) -> int:
        """Return the axis, counted from the front; an attribute until opset 19, an input from 20."""
        axis = self.options.get("axis", 1) if self.scope.opset < 20 else self._scalar(2, "axis", -2)
        if not (-rank <= axis <= -2 or 0 <= axis <= rank - 2):
            raise self.refused(f"axis {axis} is no signal axis of an input of {rank} dimensions")
        return axis % rank

    def _scalar(self, place: int, what: str, default: int | None) -> int:
        """Return a whole number that the node reads from an input."""
        name = self.node.input[place] if place < len(self.node.input) else ""
        if not name:
            if default is None:
                raise self.unknown(f"its {what}")
            return default
        value = self.scope.value(name)
        if value is None:
            raise self.unknown(f"its {what} ({name!r:.80}), computed at run time,")
        if value.size != 1 or value.dtype.kind not in "iu":
            raise self.refused(f"its {what} is not one whole number, but {value.dtype}{list(value.shape)}")
        return int(value.ravel()[0])

    def _check(self, transform: Transform, size: int) -> None:
        if not (1 <= transform.length <= LONGEST and size >= 1 and transform.taken >= 1):
            raise self.refused(f"{transform.length} points of {size} values are no transform")
        if transform.bytes > LARGEST_MATRIX:
            raise self.refused(
                f"its matrix for {transform.length} points would have {transform.bytes >> 20} MB; at most "
                f"{LARGEST_MATRIX >> 20} MB are written. Cut the signal into shorter pieces"
            )

    def _crop(self, value: str, axis: int, taken: int) -> str:
        bounds = [self._shape([0]), self._shape([taken]), self._shape([axis])]
        return self._add("Slice", [value, *bounds], "crop")

    def _shape(self, sizes: Sequence[int]) -> str:
        key = "sizes_" + "_".join(map(str, sizes)).replace("-", "m")
        return self._constant(key, lambda: np.array(sizes, np.int64))

    def _constant(self, key: str, build: Callable[[], Array]) -> str:
        return self.store(key, build)

    def _add(self, operator: str, inputs: list[str], what: str, *, last: bool = False, **options: Any) -> str:
        from onnx import helper

        result = self.node.output[0] if last else self.fresh(f"{self.stem}/{what}")
        added = helper.make_node(
            operator, inputs, [result], self.fresh(f"{self.stem}/{what}_node"), **options
        )
        added.doc_string = self.node.doc_string
        added.metadata_props.extend(self.node.metadata_props)
        self.nodes.append(added)
        return result

    def refused(self, why: str) -> LoweringError:
        return _refused(self.node, why)

    def unknown(self, what: str) -> UnknownSizeError:
        return UnknownSizeError(
            f"{label(self.node)}: {what} is not known; fix the sizes of the network's inputs"
        )
