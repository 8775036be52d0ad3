"""Compiles `fake_cudart.c`, so that what calls CUDA can be run on a machine without a GPU."""

from __future__ import annotations

import atexit
import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

HEADERS = Path("/usr/local/cuda/include")


@functools.lru_cache(maxsize=1)
def fake_cudart() -> ctypes.CDLL:
    """Return the library; skips the test where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the stand-in for libcudart with")
    folder = tempfile.mkdtemp(prefix="fake-cudart-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = Path(folder) / "libfakecudart.so"
    source = Path(__file__).with_name("fake_cudart.c")
    headers = [f"-I{HEADERS}"] if HEADERS.is_dir() else []
    subprocess.run([compiler, "-w", "-shared", "-fPIC", *headers, "-o", built, source], check=True)
    return ctypes.CDLL(str(built))


def live() -> int:
    """Return how many allocations have not been freed."""
    return int(fake_cudart().fake_live())
