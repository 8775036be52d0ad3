"""Calls of ``forward`` that PyTorch's tracing takes wrongly, met before it sees them.

Each was found by lowering a network and comparing the result with eager PyTorch (torch 2.13).
"""

from __future__ import annotations

import ast
import inspect
import linecache
import sysconfig
import textwrap
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ...runtime.errors import LoweringError

_OUTSIDE = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
_STANDARD = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")
LONGEST_ASSERT = 12
"""Lines of an assertion that is still recognised."""

_SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]
_ISTFT = (torch.istft, Tensor.istft)


def users_frame(frames: traceback.StackSummary) -> traceback.FrameSummary | None:
    """The innermost frame that belongs neither to PyTorch nor to Python nor to this package, or ``None``."""
    for frame in reversed(frames):
        name = frame.filename
        standard = name.startswith(_STANDARD) and not any(part in name for part in _INSTALLED)
        if not name.startswith(_OUTSIDE) and not standard:
            return frame
    return None


def asserted(frame: traceback.FrameSummary) -> bool | None:
    """What the one condition of an ``assert`` on this line has to be; ``None`` if it is no such statement."""
    first = frame.lineno or 0
    text = ""
    for number in range(first, first + LONGEST_ASSERT):
        text += linecache.getline(frame.filename, number)
        try:
            (statement,) = ast.parse(textwrap.dedent(text)).body
        except (SyntaxError, ValueError):
            continue
        if not isinstance(statement, ast.Assert) or isinstance(statement.test, ast.BoolOp | ast.IfExp):
            return None
        return not (isinstance(statement.test, ast.UnaryOp) and isinstance(statement.test.op, ast.Not))
    return None


class DerivativeError(Exception):
    """``torch.func`` differentiates inside ``forward``: trace it again with the operators taken apart."""


class Intercept(TorchFunctionMode):
    """Sees every torch function that ``forward`` calls.

    An assignment to ``.data`` is refused: the trace does not see it and goes on with the old tensor.
    ``istft`` to a real signal with an odd ``n_fft`` is called in another form: torch takes it for even there.
    ``derivatives``: what to do inside ``torch.func.grad``, ``vjp`` or ``jvp``, which a trace of whole
    operators records wrongly: go on, or raise :class:`DerivativeError`.
    """

    def __init__(self, derivatives: bool) -> None:
        """Start with nothing seen."""
        super().__init__()
        self._derivatives = derivatives
        self.has_derivatives = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuse, rewrite, or pass on."""
        kwargs = kwargs or {}
        if func == _SET_DATA:
            raise LoweringError(
                f"forward assigns to .data{_place()}, which tracing cannot follow. Write into the tensor "
                "(t.copy_(...)), or give the new tensor a name of its own"
            )
        if not (self._derivatives or self.has_derivatives) and _in_derivative():
            self.has_derivatives = True  # and pass what closes the levels that are open
            raise DerivativeError
        if func in _ISTFT:
            return _inverse(func, args, kwargs)
        return func(*args, **kwargs)


def _in_derivative() -> bool:
    level = torch._C._functorch.peek_interpreter_stack()
    kinds = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)
    return level is not None and level.key() in kinds


def _place() -> str:
    frame = users_frame(traceback.extract_stack())
    return "" if frame is None else f" at {Path(frame.filename).name}:{frame.lineno} ({frame.line})"


_ISTFT_ARGUMENTS = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)
        for name, default in [
            ("input", inspect.Parameter.empty),
            ("n_fft", inspect.Parameter.empty),
            ("hop_length", None),
            ("win_length", None),
            ("window", None),
            ("center", True),
            ("normalized", False),
            ("onesided", None),
            ("length", None),
            ("return_complex", False),
        ]
    ]
)


def _inverse(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``istft``; where ``n_fft`` is odd, as the real part of that of the whole Hermitian spectrum."""
    try:
        given = _ISTFT_ARGUMENTS.bind(*args, **kwargs)
    except TypeError:  # eager PyTorch has its own words for it
        return func(*args, **kwargs)  # type: ignore[no-any-return]
    given.apply_defaults()
    named = given.arguments
    spectrum, n_fft = named["input"], named["n_fft"]
    bins = n_fft // 2 + 1
    usable = spectrum.dim() >= 2 and spectrum.is_complex() and spectrum.shape[-2] in (bins, n_fft)
    if n_fft % 2 == 0 or not usable or named["return_complex"]:
        return func(*args, **kwargs)  # type: ignore[no-any-return]
    first, rest = spectrum[..., :1, :].real, spectrum[..., 1:bins, :]
    first = torch.complex(first, torch.zeros_like(first))
    named["input"] = torch.cat([first, rest, rest.flip(-2).conj()], -2)
    named.update(onesided=False, return_complex=True)
    return func(**named).real  # type: ignore[no-any-return]
