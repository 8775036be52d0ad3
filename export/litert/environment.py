"""The environment that converts to LiteRT: litert-torch pulls jax and transformers, and moves pydantic."""

from __future__ import annotations

from ..setup.environment import Environment

LITERT = Environment(
    name="litert",
    title="litert-torch",
    package=__package__ or "",
    pins="requirements.txt",
    shared=("torch",),  # which writes the program here and reads it there
    module="litert_torch",
    main="litert-torch",
    size="2 GB with PyTorch for the CPU",
)


def problem() -> str | None:
    """Say why nothing can be converted here, or ``None``."""
    return LITERT.problem()
