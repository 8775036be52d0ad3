"""A bundle's artifacts, and a machine with a GPU and one release of TensorRT."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device.bundle import Bundle
from fdikp_edge.runtime.tensorrt import cuda_library
from fdikp_edge.runtime.tensorrt.cuda import open_cuda

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from fake_cuda import fake_cudart

RUNTIME = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def artifacts(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    opened = Bundle.open(small_bundle, tmp_path_factory.mktemp("cache")).artifacts()
    return {artifact.passport.precision: artifact for artifact in opened}


@pytest.fixture
def fp32_artifact(artifacts: dict[str, Artifact]) -> Artifact:
    return artifacts["fp32"]


@pytest.fixture
def classic(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], Any]]:
    """A machine with a GPU of compute capability 8.7, and the names that a release of TensorRT has."""
    library = Path(fake_cudart()._name)
    monkeypatch.setattr(cuda_library, "candidates", lambda: iter([str(library)]))
    # The builder's process finds the same library where the loader looks first.
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcudart.so.13").symlink_to(library)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "lib"))
    monkeypatch.syspath_prepend(RUNTIME / "fake_tensorrt")
    open_cuda.cache_clear()

    def install(release: str) -> Any:
        monkeypatch.setenv("FAKE_TENSORRT", str(RUNTIME / "tensorrt_api" / f"{release}.json"))
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        return importlib.import_module("tensorrt")

    yield install
    sys.modules.pop("tensorrt", None)
    open_cuda.cache_clear()
