"""Buckets are checked when opened; a photo goes through the cheapest one, arrays through theirs."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.buckets.buckets import MAX_BUCKETS, Buckets
from fdikp_edge.runtime.buckets.opened import OpenBuckets
from fdikp_edge.runtime.deblur import deblur_files
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, ImageError, SizeError
from fdikp_edge.runtime.images import Photo, read_photo, write_photo
from fdikp_edge.runtime.tiles.tiling import Tiling, blend
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_networks import contract, network, passport, save_network

MACHINE = {"cpu": "one", "threads": 2, "load": 0.1}
Size = tuple[int, int]


def unread(size: Size, **fields: object) -> Artifact:
    """An artifact that no file holds: enough to choose by."""
    return Artifact(Path("/net") / "x".join(map(str, size)), passport(size, **fields))


def timed(p50: float, stable: bool = True, **machine: object) -> dict[str, object]:
    return {"latency_ms": {"p50": p50, "stable": stable}, "measured_on": {**MACHINE, **machine}}


def buckets_of(artifacts: Sequence[Artifact]) -> Buckets:
    return Buckets(Path("/net"), tuple(artifacts))


def tiles_run(photo: Size, tile: Size) -> int:
    """How often a network really runs when a photo of that size is blended from such tiles."""
    calls = 0

    def network(pixels: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.zeros((1, *tile), np.float32)

    for _ in blend(np.zeros((*photo, 1), np.uint8), Tiling.of(tile).grid(*photo), [network]):
        pass
    return calls


sides = st.integers(1, 40).map(lambda n: 8 * n)
sizes = st.lists(st.tuples(sides, sides), min_size=1, max_size=5, unique=True)
photos = st.tuples(st.integers(1, 500), st.integers(1, 500))


@given(sizes, photos)
@settings(max_examples=60, deadline=None)
def test_no_other_bucket_would_compute_fewer_pixels(sizes: list[Size], photo: Size) -> None:
    chosen = buckets_of([unread(size) for size in sizes]).for_photo(*photo).passport.input.size
    work = {size: tiles_run(photo, size) * size[0] * size[1] for size in sizes}
    assert work[chosen] == min(work.values())
    rivals = [size for size in sizes if work[size] == work[chosen]]
    assert tiles_run(photo, chosen) == min(tiles_run(photo, size) for size in rivals)


@given(sizes, photos, st.data())
@settings(max_examples=60, deadline=None)
def test_where_all_were_timed_no_other_bucket_would_take_less_time(
    sizes: list[Size], photo: Size, data: st.DataObject
) -> None:
    times = {size: data.draw(st.floats(0.5, 1000)) for size in sizes}
    chosen = buckets_of([unread(size, **timed(times[size])) for size in sizes]).for_photo(*photo)
    took = {size: tiles_run(photo, size) * times[size] for size in sizes}
    assert took[chosen.passport.input.size] == min(took.values())


@pytest.mark.parametrize(
    "other",
    [
        timed(1.0, cpu="another"),
        timed(1.0, stable=False),
        {"latency_ms": None, "measured_on": MACHINE},
        {"latency_ms": {"p50": "fast", "stable": True}, "measured_on": MACHINE},
        {"latency_ms": {"p50": 0.0, "stable": True}, "measured_on": MACHINE},
    ],
)
def test_times_that_cannot_be_compared_do_not_decide(other: dict[str, object]) -> None:
    small, large = (32, 32), (256, 256)
    comparable = buckets_of([unread(small, **timed(1000.0)), unread(large, **timed(1.0, load=9.0))])
    assert comparable.for_photo(20, 20).passport.input.size == large
    mixed = buckets_of([unread(small, **timed(1000.0)), unread(large, **other)])
    assert mixed.for_photo(20, 20).passport.input.size == small


def test_a_halo_leaves_out_buckets_that_are_too_small_for_it() -> None:
    buckets = buckets_of([unread((32, 32)), unread((64, 64))])
    assert buckets.for_photo(30, 30).passport.input.size == (32, 32)
    assert buckets.for_photo(30, 30, halo=20).passport.input.size == (64, 64)
    with pytest.raises(BadInputError, match="halo 40"):
        buckets.for_photo(30, 30, halo=40)


def test_networks_that_take_no_photo_or_enlarge_it_unevenly_have_no_bucket_for_it() -> None:
    with pytest.raises(BadInputError, match="a photo goes through"):
        buckets_of([unread(size, inputs=(plain(size),)) for size in ((32, 32), (64, 64))]).for_photo(9, 9)
    doubled = (contract("deblurred", (64, 64), "float"),)
    with pytest.raises(BadInputError, match="different factors"):
        buckets_of([unread((32, 32), outputs=doubled), unread((64, 64))]).for_photo(9, 9)


def plain(shape: tuple[int, ...]) -> Any:
    like = contract("x", (8, 8), "float")
    return dataclasses.replace(like, shape=shape, layout=None, color_space="")


def test_arrays_go_through_the_bucket_of_their_shape() -> None:
    artifacts = [unread((n, n), inputs=(plain((1, 1, n)), plain_kernel())) for n in (32, 64)]
    buckets = buckets_of(artifacts)
    assert buckets.for_shapes({"x": (1, 1, 64), "other": (3,)}) is artifacts[1]
    assert buckets.for_shapes({"x": (64,), "kernel": (5, 5)}) is artifacts[1], "leading sides of 1"
    for shapes in ({"x": (48,)}, {"x": (64,), "kernel": (5, 1)}, {"x": (64, 1)}, {"x": (2, 64)}):
        with pytest.raises(SizeError, match=r"no bucket takes .*x float32\[1, 1, 32\].*; x .*64\]"):
            buckets.for_shapes(shapes)


def plain_kernel() -> Any:
    return dataclasses.replace(plain((5, 5)), name="kernel")


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of buckets of a real network: folder((32, 32), (64, 96), name="half")."""
    pytest.importorskip("onnx", reason="building a test network needs onnx")

    def make(*sizes: Size, name: str = "identity", **fields: object) -> Path:
        for size in sizes:
            with ArtifactWriter(tmp_path / "net" / "x".join(map(str, size))) as writer:
                save_network(network(name, size, "float"), "onnx", writer.folder)
                writer.commit(passport(size, **fields))
        return tmp_path / "net"

    return make


def test_a_folder_of_buckets_opens_and_an_artifact_alone_is_one(folder: Callable[..., Path]) -> None:
    place = folder((64, 64), (32, 48))
    (place / "64x64.worst.png").write_bytes(b"")  # what `verify --worst-case` leaves there
    buckets = Buckets.open(place)
    assert [artifact.passport.input.size for artifact in buckets.artifacts] == [(32, 48), (64, 64)]
    assert [buckets.name_of(artifact) for artifact in buckets.artifacts] == ["32x48", "64x64"]
    alone = Buckets.open(place / "64x64")
    assert len(alone.artifacts) == 1 and alone.name_of(alone.artifacts[0]) == ""


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("model", "other", "model"),
        ("weights_sha256", "c" * 64, "weights"),
        ("target", "openvino", "target"),
        ("precision", "fp16", "precision"),
        ("image_contract", "uint8_nhwc", "image contract"),
        ("inputs", (contract("picture", (64, 64), "float"),), "inputs"),
        ("outputs", (contract("deblurred", (64, 64), "uint8"),), "outputs"),
    ],
)
def test_buckets_that_differ_in_more_than_size_are_refused(
    folder: Callable[..., Path], field: str, value: object, what: str
) -> None:
    folder((32, 32))
    place = folder((64, 64), model_file="model.onnx", **{field: value})
    with pytest.raises(ArtifactError, match=f"32x32 and 64x64 differ in {what}"):
        Buckets.open(place)


def test_unsound_folders_are_refused(folder: Callable[..., Path], tmp_path: Path) -> None:
    place = folder((32, 32), (64, 64))
    shutil.copytree(place / "64x64", place / "96x96")
    with pytest.raises(ArtifactError, match="64x64 and 96x96 are built for the same size"):
        Buckets.open(place)
    shutil.rmtree(place / "96x96")
    shutil.move(place / "64x64", tmp_path / "elsewhere")
    (place / "64x64").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="64x64: is a link"):
        Buckets.open(place)
    (place / "64x64").unlink()
    (place / "64x64").mkdir()  # a copy that was cut short
    with pytest.raises(ArtifactError, match="64x64: has no passport"):
        Buckets.open(place)
    (place / "64x64").rmdir()
    (place / "32x32" / "model.onnx").write_bytes(b"altered")
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        Buckets.open(place)
    with pytest.raises(ArtifactError, match="not an artifact folder"):
        Buckets.open(tmp_path)
    many = tmp_path / "many"
    for number in range(MAX_BUCKETS + 1):
        (many / f"{number + 1}x1").mkdir(parents=True)
    with pytest.raises(ArtifactError, match=f"{MAX_BUCKETS + 1} sizes"):
        Buckets.open(many)


def test_one_artifact_is_asked_for_where_there_are_several(folder: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match=r"for each size \(32x32, 64x64\); give the folder of one"):
        Artifact.open(folder((32, 32), (64, 64)))


def test_each_photo_goes_through_its_bucket(
    folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    place = folder((32, 32), (64, 64), (128, 128), name="half")
    shots = tmp_path / "in"
    for name, size in (("a", (30, 30)), ("b", (60, 64)), ("c", (20, 20)), ("e", (25, 31))):
        write_photo(shots / f"{name}.png", Photo(pixels=np.full((*size, 3), 200, np.uint8)))
    (shots / "d.png").write_bytes(b"nonsense")
    opened: list[str] = []
    known: list[Any] = []
    real = OpenBuckets.sessions

    def sessions(self: OpenBuckets, artifact: Artifact, tiles: int) -> Any:
        result = real(self, artifact, tiles)
        if not any(kept is result for kept in known):
            known.append(result)
            opened.append(artifact.path.name)
        return result

    monkeypatch.setattr(OpenBuckets, "sessions", sessions)
    results = deblur_files([shots], place, tmp_path / "out")
    assert [result.bucket for result in results] == ["32x32", "64x64", "32x32", "", "32x32"]
    assert [type(result.error) for result in results].count(ImageError) == 1
    assert opened == ["32x32", "64x64"], "each once, and none that no photo needs"
    assert (read_photo(tmp_path / "out" / "b.png").pixels == 100).all()


def test_a_wrong_halo_is_refused_before_anything_is_written(
    folder: Callable[..., Path], tmp_path: Path
) -> None:
    write_photo(tmp_path / "a.png", Photo(pixels=np.zeros((9, 9, 3), np.uint8)))
    with pytest.raises(BadInputError, match="halo 99"):
        deblur_files([tmp_path / "a.png"], folder((32, 32), (64, 64)), tmp_path / "out", halo=99)
    assert not (tmp_path / "out").exists()
