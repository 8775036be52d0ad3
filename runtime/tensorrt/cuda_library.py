"""``libcudart`` itself: where it may be, which functions of it are called, and what their errors mean.

Names and numbers are those of the CUDA Runtime API reference (docs.nvidia.com/cuda/cuda-runtime-api), from
CUDA 11.4 (JetPack 5) to 13. :mod:`.cuda` is what to use.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import DeviceError, TargetUnavailableError

OUT_OF_MEMORY = 2
INSUFFICIENT_DRIVER = 35
NO_DEVICE = 100

_int, unsigned, size_t, pointer = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p
_out = ctypes.POINTER
SIGNATURES: dict[str, tuple[type, ...]] = {
    "cudaDriverGetVersion": (_out(_int),),
    "cudaRuntimeGetVersion": (_out(_int),),
    "cudaGetDeviceCount": (_out(_int),),
    "cudaSetDevice": (_int,),
    "cudaSetDeviceFlags": (unsigned,),
    "cudaGetDeviceFlags": (_out(unsigned),),
    "cudaDeviceGetAttribute": (_out(_int), _int, _int),
    "cudaGetDeviceProperties": (pointer, _int),
    "cudaMemGetInfo": (_out(size_t), _out(size_t)),
    "cudaMalloc": (_out(pointer), size_t),
    "cudaFree": (pointer,),
    "cudaHostAlloc": (_out(pointer), size_t, unsigned),
    "cudaHostGetDevicePointer": (_out(pointer), pointer, unsigned),
    "cudaFreeHost": (pointer,),
    "cudaMemcpyAsync": (pointer, pointer, size_t, _int, pointer),
    "cudaStreamCreateWithFlags": (_out(pointer), unsigned),
    "cudaStreamSynchronize": (pointer,),
    "cudaStreamDestroy": (pointer,),
    "cudaEventCreateWithFlags": (_out(pointer), unsigned),
    "cudaEventRecord": (pointer, pointer),
    "cudaEventSynchronize": (pointer,),
    "cudaEventElapsedTime": (_out(ctypes.c_float), pointer, pointer),
    "cudaEventDestroy": (pointer,),
    "cudaStreamBeginCapture": (pointer, _int),
    "cudaStreamEndCapture": (pointer, _out(pointer)),
    "cudaGraphInstantiateWithFlags": (_out(pointer), pointer, ctypes.c_ulonglong),
    "cudaGraphLaunch": (pointer, pointer),
    "cudaGraphExecDestroy": (pointer,),
    "cudaGraphDestroy": (pointer,),
}
"""Arguments of every function called; all return an error number, 0 for success."""


class Library:
    """The functions of one ``libcudart``."""

    def __init__(self, library: ctypes.CDLL, path: str) -> None:
        """Declare the functions of a loaded library.

        Raises:
            TargetUnavailableError: it lacks one of them (older than CUDA 11.4, or not libcudart).
        """
        self.path = path
        self._functions = {}
        for name, arguments in SIGNATURES.items():
            function = getattr(library, name, None)
            if function is None:
                raise TargetUnavailableError(f"{path}: has no {name}; CUDA 11.4 or newer is needed")
            function.argtypes, function.restype = arguments, _int
            self._functions[name] = function
        self._text = library.cudaGetErrorString
        self._text.argtypes, self._text.restype = (_int,), ctypes.c_char_p

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of :data:`SIGNATURES`; :class:`DeviceError` if it returns an error."""
        code = self._functions[name](*arguments)
        if code:
            raise DeviceError(f"{name}: {self.describe_error(code)}", code)

    def describe_error(self, code: int) -> str:
        """Return ``CUDA error 35: CUDA driver version is insufficient for CUDA runtime version``."""
        return f"CUDA error {code}: {(self._text(code) or b'unknown').decode(errors='replace')}"

    def number(self, name: str, *arguments: object) -> int:
        """Call a function whose first argument is where an int goes, and return that."""
        value = _int()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value

    def create(self, name: str, *arguments: object) -> int:
        """Call a function whose first argument is where a pointer goes, and return that."""
        handle = pointer()
        self.call(name, ctypes.byref(handle), *arguments)
        return int(handle.value or 0)

    def versions(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return what the driver supports, (0, 0) where there is none, and what this library is: (13, 0)."""
        driver, runtime = self.number("cudaDriverGetVersion"), self.number("cudaRuntimeGetVersion")
        return (driver // 1000, driver % 1000 // 10), (runtime // 1000, runtime % 1000 // 10)

    def problem(self) -> str | None:
        """Say why nothing can run here (no driver, an old one, no processor), or ``None``."""
        try:
            return None if self.number("cudaGetDeviceCount") else "no NVIDIA GPU was found"
        except DeviceError as error:
            text = self.describe_error(error.code)
            driver, runtime = self.versions()
            if error.code == INSUFFICIENT_DRIVER and driver == (0, 0):
                return f"no NVIDIA driver ({text})"
            if error.code == INSUFFICIENT_DRIVER:
                return (
                    f"the NVIDIA driver is too old: it supports CUDA {driver[0]}.{driver[1]}, and "
                    f"{runtime[0]}.{runtime[1]} is needed ({text})"
                )
            return f"no NVIDIA GPU was found ({text})" if error.code == NO_DEVICE else text


def candidates() -> Iterator[str]:
    """Yield where a ``libcudart`` may be: as the loader finds it, then by full path, never in this folder."""
    if sys.platform == "win32":
        yield from (f"cudart64_{version}.dll" for version in ("13", "12", "110"))
        return
    yield from (f"libcudart.so.{version}" for version in ("13", "12", "11.0"))
    spec = importlib.util.find_spec("nvidia")  # the folder that NVIDIA's own wheels share
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    places = [root / folder / "lib" for root in roots for folder in ("cu13", "cuda_runtime")]
    for place in (*places, Path("/usr/local/cuda/lib64"), Path("/usr/local/cuda/lib")):
        yield from (str(file) for file in sorted(place.glob("libcudart.so.*"), reverse=True))


_Kind = TypeVar("_Kind", bound=Library)


def open_library(kind: type[_Kind]) -> _Kind:
    """Return the first ``libcudart`` that can work with this machine's driver, as ``kind``.

    Raises:
        TargetUnavailableError: none is installed, there is no driver or too old a one, or no processor.
    """
    problems = []
    for path in candidates():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        try:
            opened = kind(library, path)
            problem = opened.problem()
        except (TargetUnavailableError, DeviceError) as error:
            problem = str(error)
        else:
            if problem is None:
                return opened
        problems.append(problem)
    missing = "the CUDA runtime (libcudart) is not installed"
    raise TargetUnavailableError((problems or [_driver_problem() or missing])[0])


def _driver_problem() -> str | None:
    """Say that there is no driver, where not even ``libcudart`` is there to say so."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return f"no NVIDIA driver ({name} is not found)"
    return None
