"""CUDA memory, streams, events and graphs through ctypes on ``libcudart``: nothing else has to be installed.

::

    cuda = open_cuda()                       # TargetUnavailableError says what is missing
    with cuda.stream() as stream, cuda.host_alloc(n) as pinned, cuda.malloc(n) as device:
        cuda.to_device(device, pinned, stream)
        stream.synchronize()

Everything that is allocated has ``handle`` (a plain int, as TensorRT's bindings take it), ``close()`` (twice
is fine) and works as a context manager. Sizes are bytes, times milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import TypeVar

from ..errors import DeviceError, TargetUnavailableError
from .cuda_library import OUT_OF_MEMORY, Library, open_library, pointer, size_t, unsigned

__all__ = ["OUT_OF_MEMORY", "Cuda", "Device", "Event", "Graph", "Handle", "HostMemory", "Memory", "Stream"]
__all__ += ["gpu_problem", "open_cuda"]

_MAJOR, _MINOR = 75, 76  # cudaDevAttrComputeCapabilityMajor, ...Minor
_INTEGRATED, _CAN_MAP = 18, 19  # cudaDevAttrIntegrated, cudaDevAttrCanMapHostMemory
_MAPPED = 2  # cudaHostAllocMapped
_TO_DEVICE, _TO_HOST = 1, 2  # cudaMemcpyKind
_THREAD_LOCAL = 1  # cudaStreamCaptureModeThreadLocal: other threads may go on allocating
_NON_BLOCKING = 1  # cudaStreamNonBlocking
_PROPERTIES_BYTES = 1 << 16  # cudaDeviceProp is 1 KB so far; its name is always the first member

WAITING = {"auto": 0, "spin": 1, "yield": 2, "blocking": 4}
"""How a thread waits for the device -> the flag of ``cudaSetDeviceFlags``. ``spin`` keeps one processor busy
and answers first; ``blocking`` sleeps; ``auto`` leaves it to CUDA, which may block on a Jetson."""
_WAITING_MASK = 7  # cudaDeviceScheduleMask

_Handle = TypeVar("_Handle", bound="Handle")


class Handle:
    """Something that CUDA allocated; a context manager that frees it."""

    def __init__(self, handle: int, free: Callable[[int], object]) -> None:
        """Own ``handle`` and free it once, with ``free``."""
        self.handle = handle
        self._free = free

    def close(self) -> None:
        """Free it. Closing twice is fine."""
        handle, self.handle = self.handle, 0
        if handle:
            self._free(handle)

    def __enter__(self: _Handle) -> _Handle:
        """Return the handle itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free it."""
        self.close()


class Memory(Handle):
    """``nbytes`` bytes on the device, from ``cudaMalloc``."""

    def __init__(self, handle: int, nbytes: int, free: Callable[[int], object]) -> None:
        """Own memory of ``nbytes`` bytes."""
        super().__init__(handle, free)
        self.nbytes = nbytes


class HostMemory(Memory):
    """Pinned memory of this machine, which the device copies from and to without a detour.

    ``device_handle`` is its address on the device where it is mapped there, else 0.
    """

    def __init__(
        self, handle: int, nbytes: int, free: Callable[[int], object], device_handle: int = 0
    ) -> None:
        """Own memory of ``nbytes`` bytes."""
        super().__init__(handle, nbytes, free)
        self.device_handle = device_handle

    @property
    def buffer(self) -> memoryview:
        """The bytes, writable, for ``numpy.frombuffer``; not to be touched after :meth:`close`."""
        return memoryview((ctypes.c_ubyte * self.nbytes).from_address(self.handle)).cast("B")


class Stream(Handle):
    """A queue of work on the device."""

    def __init__(self, handle: int, cuda: Cuda) -> None:
        """Own a stream of ``cuda``."""
        super().__init__(handle, lambda stream: cuda.call("cudaStreamDestroy", stream))
        self._cuda = cuda

    def synchronize(self) -> None:
        """Wait until all work in the queue is done; :class:`DeviceError` if any of it failed."""
        self._cuda.call("cudaStreamSynchronize", self.handle)


class Event(Handle):
    """A mark in a stream, with the device's own time."""

    def __init__(self, handle: int, cuda: Cuda) -> None:
        """Own an event of ``cuda``."""
        super().__init__(handle, lambda event: cuda.call("cudaEventDestroy", event))
        self._cuda = cuda

    def record(self, stream: Stream) -> None:
        """Put the mark at the end of the stream's queue."""
        self._cuda.call("cudaEventRecord", self.handle, stream.handle)

    def synchronize(self) -> None:
        """Wait until the device has passed the mark."""
        self._cuda.call("cudaEventSynchronize", self.handle)

    def since(self, start: Event) -> float:
        """Return the milliseconds from ``start`` to this mark; both must have been passed."""
        took = ctypes.c_float()
        self._cuda.call("cudaEventElapsedTime", ctypes.byref(took), start.handle, self.handle)
        return float(took.value)


class Graph(Handle):
    """Work that was captured from a stream once and is launched as a whole."""

    def __init__(self, handle: int, cuda: Cuda) -> None:
        """Own an instantiated graph of ``cuda``."""
        super().__init__(handle, lambda graph: cuda.call("cudaGraphExecDestroy", graph))
        self._cuda = cuda

    def launch(self, stream: Stream) -> None:
        """Queue the captured work."""
        self._cuda.call("cudaGraphLaunch", self.handle, stream.handle)


@dataclass(frozen=True)
class Device:
    """A graphics processor: name, compute capability such as (8, 7), memory in bytes.

    ``shares_memory``: it is integrated and can work on this machine's own memory without a copy.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int
    shares_memory: bool = False


class Cuda(Library):
    """What a program does with the device: describe it, allocate, copy, capture."""

    def device(self, index: int = 0) -> Device:
        """Make a processor the current one of this thread, and describe it."""
        self.call("cudaSetDevice", index)
        major, minor = (self.number("cudaDeviceGetAttribute", which, index) for which in (_MAJOR, _MINOR))
        shares = all(
            self.number("cudaDeviceGetAttribute", which, index) == 1 for which in (_INTEGRATED, _CAN_MAP)
        )
        return Device(index, self.name(index), (major, minor), self.memory()[1], shares)

    def name(self, index: int = 0) -> str:
        """Return the name of a processor, which is not set up for this."""
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self.call("cudaGetDeviceProperties", ctypes.cast(properties, pointer), index)
        return properties.value.decode(errors="replace")

    def wait_by(self, how: str) -> None:
        """Choose how this process waits for the current processor: one of :data:`WAITING`."""
        self.call("cudaSetDeviceFlags", WAITING[how])

    def waiting(self) -> str:
        """Return how this process waits for the current processor, by CUDA's own account."""
        flags = unsigned()
        self.call("cudaGetDeviceFlags", ctypes.byref(flags))
        return next((how for how, flag in WAITING.items() if flag == flags.value & _WAITING_MASK), "unknown")

    def memory(self) -> tuple[int, int]:
        """Return the free and the total bytes of the current processor."""
        free, total = size_t(), size_t()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def malloc(self, nbytes: int) -> Memory:
        """Allocate memory on the device; :class:`DeviceError` with :data:`OUT_OF_MEMORY` if it is full."""
        address = self.create("cudaMalloc", nbytes)
        return Memory(address, nbytes, lambda address: self.call("cudaFree", address))

    def host_alloc(self, nbytes: int, *, mapped: bool = False) -> HostMemory:
        """Allocate pinned memory; ``mapped``: that the device can work on where it is."""
        address = self.create("cudaHostAlloc", nbytes, _MAPPED if mapped else 0)
        memory = HostMemory(address, nbytes, lambda address: self.call("cudaFreeHost", address))
        if mapped:
            try:
                memory.device_handle = self.create("cudaHostGetDevicePointer", address, 0)
            except DeviceError:
                memory.close()
                raise
        return memory

    def stream(self) -> Stream:
        """Make a stream that does not wait for the default one."""
        return Stream(self.create("cudaStreamCreateWithFlags", _NON_BLOCKING), self)

    def event(self) -> Event:
        """Make an event that keeps time."""
        return Event(self.create("cudaEventCreateWithFlags", 0), self)

    def to_device(self, device: Memory, host: HostMemory, stream: Stream) -> None:
        """Queue a copy of all of ``host`` to the start of ``device``."""
        self._copy(device, host, host.nbytes, _TO_DEVICE, stream)

    def to_host(self, host: HostMemory, device: Memory, stream: Stream) -> None:
        """Queue a copy from the start of ``device`` that fills ``host``."""
        self._copy(host, device, host.nbytes, _TO_HOST, stream)

    def _copy(self, target: Memory, source: Memory, nbytes: int, kind: int, stream: Stream) -> None:
        if nbytes > min(target.nbytes, source.nbytes):
            raise DeviceError(f"a copy of {nbytes} bytes from {source.nbytes} to {target.nbytes} allocated")
        self.call("cudaMemcpyAsync", target.handle, source.handle, nbytes, kind, stream.handle)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Return what ``work`` queues in ``stream``, as a graph; nothing of it runs yet.

        Raises:
            DeviceError: the work cannot be captured (it waits, allocates, or uses another stream).
        """
        self.call("cudaStreamBeginCapture", stream.handle, _THREAD_LOCAL)
        try:
            work()
        except BaseException:
            with contextlib.suppress(DeviceError):  # the stream must leave capture mode; it cannot succeed
                self.call("cudaGraphDestroy", self._ended(stream))
            raise
        graph = self._ended(stream)
        try:
            return Graph(self.create("cudaGraphInstantiateWithFlags", graph, 0), self)
        finally:
            self.call("cudaGraphDestroy", graph)

    def _ended(self, stream: Stream) -> int:
        graph = pointer()
        self.call("cudaStreamEndCapture", stream.handle, ctypes.byref(graph))
        return int(graph.value or 0)


@lru_cache(maxsize=1)
def open_cuda() -> Cuda:
    """Return the first ``libcudart`` that can work with this machine's driver.

    Raises:
        TargetUnavailableError: none is installed, there is no driver or too old a one, or no processor.
    """
    return open_library(Cuda)


def gpu_problem() -> str | None:
    """Say why no NVIDIA GPU can be used here, or ``None``."""
    try:
        open_cuda()
    except TargetUnavailableError as error:
        return str(error)
    return None
