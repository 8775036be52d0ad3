"""What a finished file may not hold, whatever the converter: counted by operator type, refused by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from ..runtime.errors import LoweringError

#: Operator types, by the names ONNX, OpenVINO and Core ML use, that edge runtimes lack, or run slowly,
#: wrongly or on the CPU.
FORBIDDEN: Mapping[str, str] = {
    **dict.fromkeys(("DFT", "STFT", "IDFT", "RDFT", "IRDFT", "ISTFT"), "a Fourier transform"),
    **dict.fromkeys(("ComplexTypeMark", "Complex"), "a complex value"),
    **dict.fromkeys(
        ("Loop", "If", "Scan", "TensorIterator", "SequenceMap", "cond", "while_loop"),
        "control flow at run time",
    ),
}


def check_census(census: Mapping[str, int], file: str, allowed: Collection[str] = ()) -> None:
    """Refuse a file that holds a forbidden operator, but for those ``allowed``: a runtime may have one.

    Raises:
        LoweringError: names the operators, how many there are, and what they stand for.
    """
    forbidden = [
        f"{census[name]} {name} ({what})"
        for name, what in FORBIDDEN.items()
        if census.get(name) and name not in allowed
    ]
    if forbidden:
        raise LoweringError(
            f"{file}: the converter left {', '.join(forbidden)}; the network was not lowered "
            "completely. Lower it with fdikp_edge.export.lower first, and report the network if that was done"
        )


def table(census: Counter[str]) -> dict[str, int]:
    """Return the counts, most frequent first, ties by name."""
    return dict(sorted(census.items(), key=lambda item: (-item[1], item[0])))
