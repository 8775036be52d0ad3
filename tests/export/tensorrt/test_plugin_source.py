"""The cuFFT plugin's sources: its arithmetic on this processor, and compiled as far as the tools here go."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

SOURCES = Path(__file__).resolve().parents[3] / "export" / "tensorrt" / "plugins"
PLACES = [
    Path(os.environ.get("TENSORRT_ROOT", "/usr"), "include"),
    Path("/usr/include/x86_64-linux-gnu"),
    *map(Path, os.environ.get("CUDA_INCLUDES", "/usr/local/cuda/include").split(os.pathsep)),
]
"""Folders of headers. ``TENSORRT_ROOT`` names a checkout of github.com/NVIDIA/TensorRT, ``CUDA_INCLUDES``
those of CUDA, cuFFT and ``crt`` (from wheels: nvidia-cuda-runtime, nvidia-cufft, nvidia-cuda-crt)."""

WRAPPER = """
#include "fft_elements.h"
using fdikp_edge::Complex;
extern "C" void join(float const* re, float const* im, Complex* z, long n, int h, int w, float scale) {
    for (long i = 0; i < n; ++i) z[i] = fdikp_edge::joined(re, im, i, h, w, scale);
}
extern "C" void parts(Complex const* s, float* re, float* im, long n, float scale) {
    for (long i = 0; i < n; ++i) fdikp_edge::part(s, i, scale, re, im);
}
"""
sides = st.integers(1, 12)


@pytest.fixture(scope="module")
def elements(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """What the kernels compute for each element, compiled for this processor."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("elements")
    (folder / "wrapper.cpp").write_text(WRAPPER)
    command = [compiler, "-std=c++17", "-Wall", "-Werror", "-shared", "-fPIC", f"-I{SOURCES}"]
    subprocess.run([*command, "-o", folder / "elements.so", folder / "wrapper.cpp"], check=True)
    return ctypes.CDLL(str(folder / "elements.so"))


def pointer(array: np.ndarray[Any, Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@given(sides, sides, st.integers(0, 2**32 - 1))
def test_cufft_is_given_a_spectrum_that_a_real_signal_has(
    elements: ctypes.CDLL, height: int, width: int, seed: int
) -> None:
    # cuFFT's inverse trusts that its input is Hermitian; torch's takes anything. Given what `joined` makes,
    # an inverse that uses the whole spectrum (numpy's complex one, of the mirrored half) must agree with it.
    rng = np.random.default_rng(seed)
    half = width // 2 + 1
    re, im = rng.standard_normal((2, 3, height, half)).astype(np.float32)
    joined = np.empty((3, height, half), np.complex64)
    elements.join(
        pointer(re), pointer(im), pointer(joined), ctypes.c_long(re.size), height, width, ctypes.c_float(0.5)
    )
    full = np.empty((3, height, width), np.complex128)
    full[..., :half] = joined
    rows = -np.arange(height) % height
    for column in range(half, width):
        full[..., column] = np.conj(joined[:, rows, width - column])
    signal = np.fft.ifft2(full)
    spectrum = torch.complex(torch.from_numpy(re).double(), torch.from_numpy(im).double())
    expected = 0.5 * torch.fft.irfft2(spectrum, s=(height, width)).numpy()
    assert np.abs(signal.real - expected).max() < 1e-6
    assert np.abs(signal.imag).max() < 1e-6


def test_the_parts_of_a_spectrum_are_scaled(elements: ctypes.CDLL) -> None:
    rng = np.random.default_rng(0)
    spectrum = (rng.standard_normal(50) + 1j * rng.standard_normal(50)).astype(np.complex64)
    re, im = np.empty((2, 50), np.float32)
    elements.parts(pointer(spectrum), pointer(re), pointer(im), ctypes.c_long(50), ctypes.c_float(0.25))
    np.testing.assert_allclose(re + 1j * im, 0.25 * spectrum, rtol=1e-6)


def test_the_kernels_compile_for_the_processors_that_engines_are_built_for(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    architectures = [f"-gencode=arch=compute_{sm},code=sm_{sm}" for sm in (86, 87, 89, 120)]
    command = [
        nvcc,
        "-std=c++17",
        "-Werror",
        "all-warnings",
        *architectures,
        "-c",
        "-o",
        tmp_path / "kernels.o",
    ]
    done = subprocess.run([*command, SOURCES / "fft_kernels.cu"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"sm_87" in (tmp_path / "kernels.o").read_bytes()


def test_the_plugin_compiles_where_its_headers_are(tmp_path: Path) -> None:
    compiler = shutil.which("c++") or shutil.which("g++")
    missing = [name for name in ("NvInfer.h", "cufft.h") if not any((p / name).is_file() for p in PLACES)]
    if compiler is None or missing:
        pytest.skip(f"needs {', '.join(missing) or 'a C++ compiler'} (TensorRT's and cuFFT's headers)")
    command = [compiler, "-std=c++17", "-fsyntax-only", *(f"-I{place}" for place in PLACES)]
    done = subprocess.run([*command, SOURCES / "fft_plugin.cpp"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_plugin_says_what_the_operator_says() -> None:
    from fdikp_edge.export.onnx.definitions import PORTS, VERSION
    from fdikp_edge.export.spectral.strategies.custom import NAMESPACE

    text = (SOURCES / "fft_plugin.cpp").read_text(encoding="utf-8")
    assert f'kNAMESPACE = "{NAMESPACE}"' in text and f'kVERSION = "{VERSION}"' in text
    assert all(f'"{name}"' in text for name in PORTS)
    matrices = {len(inputs) - len([p for p in inputs if len(p) <= 2]) for inputs, _ in PORTS.values()}
    assert matrices == {4} and "kMATRICES = 4" in text
