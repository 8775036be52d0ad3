"""The table of kinds: which spec goes where, and what other packages and files bring."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.sources.find import find
from fdikp_edge.runtime.errors import (
    BadInputError,
    CheckpointError,
    ExtensionError,
    OnnxModelError,
    SourceError,
    UnknownNameError,
)
from fdikp_edge.runtime.installed import entry_points


@pytest.mark.filterwarnings("ignore::fdikp_edge.models.zoo.UntrainedWeightsWarning")
def test_fdikp_by_name_and_by_file(tmp_path: Path) -> None:
    source = find("tiny", seed=4)
    path = tmp_path / "mine.safetensors"
    zoo.save(source.load(), path)  # type: ignore[arg-type]
    for source_ in (find(str(path)), find("tiny", weights=path)):
        assert source_.name == "tiny" and source_.trained is False and "seed 4" in source_.note
        assert zoo.weights_sha256(source_.load()) == zoo.weights_sha256(source.load())
    assert find(str(path)).spec == str(path)
    assert find("tiny").trained is True


@pytest.mark.filterwarnings("ignore::fdikp_edge.models.zoo.UntrainedWeightsWarning")
def test_options_that_mean_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--model-arg width means nothing"):
        find("tiny", arguments={"width": 3})
    path = tmp_path / "mine.safetensors"
    zoo.save(find("small").load(), path)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="--weights means nothing"):
        find(str(path), weights=path)
    with pytest.raises(BadInputError, match="seed"):
        find(str(path), seed=1)
    with pytest.raises(CheckpointError, match="does not fit variant 'tiny'"):
        find("tiny", weights=path)


def test_a_word_that_names_nothing_lists_what_can_be_given() -> None:
    with pytest.raises(UnknownNameError, match=r"'tinny'.*tiny, small, base.*net\.py:Net"):
        find("tinny")


def test_an_onnx_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    with pytest.raises(SourceError, match="no such file"):
        find(str(path))
    path.write_bytes(b"")
    with pytest.raises(OnnxModelError, match="holds no PyTorch network") as caught:
        find(str(path))
    assert caught.value.path == path


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed distribution `toy-zoo` with entry points; its module is `toy_zoo_module`."""
    information = tmp_path / "toy_zoo-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-zoo\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[fdikp_edge.sources]\ntoy = toy_zoo_module:resolve\nvalue = toy_zoo_module:VALUE\n"
        "spandrel = toy_zoo_module:resolve\nbroken = toy_zoo_missing:resolve\n"
    )
    (tmp_path / "toy_zoo_module.py").write_text(
        "from torch import nn\n"
        "from fdikp_edge.models.sources import of\n"
        "VALUE = 3\n"
        "def resolve(request):\n"
        "    what = request.spec.partition(':')[2]\n"
        "    if what == 'nothing': return None\n"
        "    if what == 'fail': raise RuntimeError('toy')\n"
        "    return of(nn.Conv2d(int(what), 1, 1), 'toy', spec=request.spec)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    entry_points._entries.cache_clear()


def test_an_installed_package_adds_a_prefix(package: Path) -> None:
    source = find("toy:4")
    assert (source.name, source.spec, source.inputs[0].channels) == ("toy", "toy:4", 4)


@pytest.mark.parametrize(
    ("spec", "error", "match"),
    [
        ("toy:nothing", ExtensionError, "toy-zoo 1.0 returned NoneType"),
        ("toy:fail", SourceError, r"toy_zoo_module\.py:7: RuntimeError: toy"),
        ("value:x", ExtensionError, "toy-zoo 1.0, and is not a function"),
        ("broken:x", ExtensionError, "toy-zoo 1.0, which cannot be loaded"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(
    package: Path, spec: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        find(spec)


def test_a_package_cannot_take_a_prefix_of_ours(package: Path) -> None:
    with pytest.raises((SourceError, CheckpointError), match=r"spandrel|no such file"):
        find("spandrel:nothing")


def test_samples_and_metric_are_the_users_own(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "one.npy", np.full((1, 3, 8, 8), 0.5, np.float32))
    (tmp_path / "measures.py").write_text("def worst(a, b): return {'worst': abs(a - b).max()}")
    source = find("torch.nn:Identity", samples=tmp_path, metric=f"{tmp_path / 'measures.py'}:worst")
    assert source.samples is not None and source.metric is not None
    (sample,) = source.samples(source.at((8, 8)))
    assert torch.equal(torch.from_numpy(sample.arrays["input"]), torch.full((1, 3, 8, 8), 0.5))
    assert source.metric(np.zeros(3), np.ones(3)) == {"worst": 1.0}
