"""CUDA by ctypes: the real library's refusal where it is installed, everything else on a stand-in device."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.errors import DeviceError, TargetUnavailableError
from fdikp_edge.runtime.tensorrt import cuda_library
from fdikp_edge.runtime.tensorrt.cuda import OUT_OF_MEMORY, Cuda, gpu_problem, open_cuda
from PIL import _imaging

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from fake_cuda import fake_cudart, live


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    """The stand-in device; whatever a test allocates must be freed at its end."""
    monkeypatch.delenv("FAKE_CUDART", raising=False)
    before = live()
    yield Cuda(fake_cudart(), "fake")
    assert live() == before


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets ``open_cuda`` find the stand-in only."""
    path = fake_cudart()._name
    monkeypatch.setattr(cuda_library, "candidates", lambda: iter([path]))
    open_cuda.cache_clear()
    yield monkeypatch
    open_cuda.cache_clear()


def test_the_real_library_says_why_nothing_runs_here() -> None:
    paths = [path for path in cuda_library.candidates() if Path(path).is_absolute()]
    if not paths:
        pytest.skip("no libcudart is installed")
    real = Cuda(ctypes.CDLL(paths[0]), paths[0])
    problem = real.problem()
    if problem is None:
        assert real.number("cudaGetDeviceCount") > 0
        return
    assert problem.startswith(("no NVIDIA driver (CUDA error 35: ", "the NVIDIA driver", "no NVIDIA GPU"))
    with pytest.raises(DeviceError, match="cudaMalloc: CUDA error"):
        real.malloc(16)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("no_driver", r"no NVIDIA driver \(CUDA error 35: insufficient driver\)"),
        ("old_driver", r"too old: it supports CUDA 11\.8, and 12\.6 is needed \(CUDA error 35"),
        ("no_device", "no NVIDIA GPU was found"),
    ],
)
def test_a_machine_that_cannot_run_says_why(library: pytest.MonkeyPatch, how: str, words: str) -> None:
    library.setenv("FAKE_CUDART", how)
    with pytest.raises(TargetUnavailableError, match=words):
        open_cuda()
    assert gpu_problem() is not None


def test_a_machine_that_can_has_no_problem(library: pytest.MonkeyPatch) -> None:
    assert gpu_problem() is None
    assert open_cuda() is open_cuda()


def test_no_library_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_library, "candidates", lambda: iter(["libnothing.so.1"]))
    open_cuda.cache_clear()
    with pytest.raises(TargetUnavailableError, match=r"no NVIDIA driver|libcudart\) is not installed"):
        open_cuda()


def test_a_library_that_is_another_one_is_refused() -> None:
    with pytest.raises(TargetUnavailableError, match="cudaDriverGetVersion; CUDA"):
        Cuda(ctypes.CDLL(str(_imaging.__file__)), "not-cudart")  # CDLL(None) would see what torch loaded


def test_libraries_are_not_taken_from_the_current_folder() -> None:
    assert all(Path(path).is_absolute() or "/" not in path for path in cuda_library.candidates())


def test_the_device_is_described(cuda: Cuda) -> None:
    device = cuda.device()
    assert (device.name, device.capability, device.memory_bytes) == ("Fake Orin", (8, 7), 1 << 21)
    with pytest.raises(DeviceError, match="cudaSetDevice"):
        cuda.device(3)


def test_bytes_go_to_the_device_and_back(cuda: Cuda) -> None:
    x = np.random.default_rng(0).random(1000).astype(np.float32)
    with (
        cuda.stream() as stream,
        cuda.host_alloc(x.nbytes) as source,
        cuda.host_alloc(x.nbytes) as result,
        cuda.malloc(x.nbytes) as device,
    ):
        np.frombuffer(source.buffer, np.float32)[:] = x
        cuda.to_device(device, source, stream)
        cuda.to_host(result, device, stream)
        stream.synchronize()
        np.testing.assert_array_equal(np.frombuffer(result.buffer, np.float32), x)
        device.close()  # twice is fine


def test_a_copy_does_not_leave_its_memory(cuda: Cuda) -> None:
    with cuda.stream() as stream, cuda.host_alloc(9) as host, cuda.malloc(8) as device:
        for copy in (
            lambda: cuda.to_device(device, host, stream),
            lambda: cuda.to_host(host, device, stream),
        ):
            with pytest.raises(DeviceError, match="9 bytes"):
                copy()


def test_a_graph_runs_when_launched_and_not_before(cuda: Cuda) -> None:
    with cuda.stream() as stream, cuda.host_alloc(4) as source, cuda.malloc(4) as device:
        source.buffer[:] = b"once"
        with cuda.capture(stream, lambda: cuda.to_device(device, source, stream)) as graph:
            assert ctypes.string_at(device.handle, 4) == b"\0\0\0\0"
            for word in (b"once", b"more"):
                source.buffer[:] = word
                graph.launch(stream)
                assert ctypes.string_at(device.handle, 4) == word


def test_a_failed_capture_leaves_the_stream_usable(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("no")

    with cuda.stream() as stream, cuda.host_alloc(4) as source, cuda.malloc(4) as device:
        with pytest.raises(ValueError, match="no"):
            cuda.capture(stream, fail)
        source.buffer[:] = b"fine"
        cuda.to_device(device, source, stream)
        assert ctypes.string_at(device.handle, 4) == b"fine"


def test_events_measure(cuda: Cuda) -> None:
    with cuda.stream() as stream, cuda.event() as start, cuda.event() as end:
        start.record(stream)
        end.record(stream)
        end.synchronize()
        assert end.since(start) == 1.0


def test_full_memory_is_told_from_other_failures(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_CUDART", "oom")
    with pytest.raises(DeviceError, match="cudaMalloc: CUDA error 2: out of memory") as caught:
        cuda.malloc(1)
    assert caught.value.code == OUT_OF_MEMORY
    monkeypatch.setenv("FAKE_CUDART", "lost")
    with cuda.stream() as stream, pytest.raises(DeviceError, match="CUDA error 700"):
        stream.synchronize()
