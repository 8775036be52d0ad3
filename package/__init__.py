"""fdikp-edge: PyTorch networks that call ``torch.fft``, deployed to edge runtimes and verified.

The rooms are subpackages: ``fdikp_edge.runtime``, ``models``, ``calibration``, ``export``, ``benchmarks`` and
``cli``. Importing this package imports none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
    """The installed version, as ``fdikp-edge --version`` shows it."""
else:

    def __getattr__(name: str) -> str:
        # Reading the metadata takes longer than the import of this package, and few callers need it.
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version

        return version("fdikp-edge")
