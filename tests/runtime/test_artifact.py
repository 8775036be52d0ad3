"""An artifact is written whole or not at all, and opened only if every byte is what the passport says."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, OutputError
from fdikp_edge.runtime.evidence import parity_evidence
from runtime_networks import passport

PICTURE = np.linspace(0, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)


def write(dest: Path, *, overwrite: bool = False, content: bytes = b"model", **fields: object) -> Artifact:
    with ArtifactWriter(dest, overwrite=overwrite) as writer:
        (writer.folder / "model.onnx").write_bytes(content)
        (writer.folder / "golden").mkdir()
        np.save(writer.folder / "golden" / "in.npy", PICTURE)
        np.save(writer.folder / "golden" / "out.npy", PICTURE / 2)
        golden = {"inputs": ["golden/in.npy"], "outputs": ["golden/out.npy"]}
        return writer.commit(passport(golden=golden, **fields))


def resign(folder: Path, **changes: object) -> None:
    """Rewrite a passport as somebody would who knows how its digest is made."""
    data = {**json.loads((folder / "passport.json").read_bytes()), **changes}
    data.pop("passport_sha256")
    (folder / "passport.json").write_text(json.dumps({**data, "passport_sha256": strict_json.digest(data)}))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as caught:
        Artifact.open(folder)
    assert str(folder) in str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_written_and_opened(tmp_path: Path) -> None:
    written = write(tmp_path / "new" / "a")
    opened = Artifact.open(tmp_path / "new" / "a")
    assert opened == written
    assert names(tmp_path) == [
        "new", "new/a", "new/a/golden", "new/a/golden/in.npy", "new/a/golden/out.npy",
        "new/a/model.onnx", "new/a/passport.json",
    ]  # fmt: skip
    assert opened.passport.files["model.onnx"]["bytes"] == 5
    assert opened.model_path.read_bytes() == b"model"
    given, expected = opened.golden()
    assert np.array_equal(given["image"], PICTURE)
    assert np.array_equal(expected["deblurred"], PICTURE / 2)
    (tmp_path / "plain").mkdir()
    assert opened.path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_to_an_artifact_opens_and_a_moved_one_too(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "latest").symlink_to("a")
    assert Artifact.open(tmp_path / "latest").path == tmp_path.resolve() / "a"
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert Artifact.open(tmp_path / "b").passport == Artifact.open(tmp_path / "a").passport


def test_altered_missing_and_extra_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a")
    model = tmp_path / "a" / "model.onnx"
    model.write_bytes(b"modeL")
    refused(tmp_path / "a", "model.onnx: was altered")
    model.write_bytes(b"longer model")
    refused(tmp_path / "a", "model.onnx: 12 bytes, the passport says 5")
    model.unlink()
    refused(tmp_path / "a", "model.onnx: is missing")
    model.write_bytes(b"model")
    (tmp_path / "a" / "golden" / "weights.bin").touch()
    refused(tmp_path / "a", "golden/weights.bin: is not listed")
    (tmp_path / "a" / "golden" / "weights.bin").unlink()
    (tmp_path / "a" / ".DS_Store").touch()
    Artifact.open(tmp_path / "a")


def test_places_that_are_no_artifact(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no such folder")
    refused(tmp_path, "has no passport.json; this is not an artifact folder$")
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "passport.json").touch()
    refused(tmp_path, "it holds artifacts, name one of them: a, b$")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "cannot be read|no such")
    with pytest.raises(ArtifactError):
        Artifact.open("a\0b")


def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    secret = tmp_path / "secret"
    secret.write_bytes(b"model")
    (tmp_path / "a" / "model.onnx").unlink()
    (tmp_path / "a" / "model.onnx").symlink_to(secret)
    refused(tmp_path / "a", "links and special files")
    (tmp_path / "a" / "model.onnx").unlink()
    os.mkfifo(tmp_path / "a" / "model.onnx")
    refused(tmp_path / "a", "links and special files")
    (tmp_path / "a" / "model.onnx").unlink()
    (tmp_path / "a" / "model.onnx").mkdir()
    refused(tmp_path / "a", "model.onnx: is missing")
    shutil.rmtree(tmp_path / "a")
    write(tmp_path / "a")
    (tmp_path / "a" / "passport.json").rename(tmp_path / "elsewhere.json")
    (tmp_path / "a" / "passport.json").symlink_to(tmp_path / "elsewhere.json")
    refused(tmp_path / "a", "not a plain file")


def test_a_passport_cannot_name_files_outside(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "secret").write_bytes(b"model")
    files = json.loads((tmp_path / "a" / "passport.json").read_bytes())["files"]
    for name in ("../secret", str(tmp_path / "secret")):
        resign(tmp_path / "a", files={**files, name: files["model.onnx"]}, model_file=name)
        refused(tmp_path / "a", "not a plain path")


def test_a_folder_with_very_many_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    for number in range(2100):
        (tmp_path / "a" / f"f{number}").touch()
    refused(tmp_path / "a", "more than 1024 files")


def test_golden_arrays_are_read_without_pickle_and_checked(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'exploded'}",)

    bad = {
        "pickled": pickle.dumps(Bomb()),
        "object array": _saved(np.array([Bomb()], dtype=object)),
        "other shape": _saved(PICTURE[:, :, 1:]),
        "other dtype": _saved(PICTURE.astype(np.float64)),
        "cut short": _saved(PICTURE)[:-5],
        "empty": b"",
    }
    for name, content in bad.items():
        with ArtifactWriter(tmp_path / name) as writer:
            (writer.folder / "model.onnx").write_bytes(b"model")
            (writer.folder / "g.npy").write_bytes(content)
            artifact = writer.commit(passport(golden={"inputs": ["g.npy"], "outputs": ["g.npy"]}))
        with pytest.raises(ArtifactError, match=r"g\.npy"):
            artifact.golden()
    assert not (tmp_path / "exploded").exists()
    with pytest.raises(ArtifactError, match="no golden"):
        dataclasses.replace(artifact, passport=passport()).golden()


def _saved(array: np.ndarray) -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def test_amending_changes_the_figures_and_nothing_else(tmp_path: Path) -> None:
    artifact = write(tmp_path / "a")
    amended = artifact.amend(state="failed", reason="\x1b[31mred\nline")
    assert Artifact.open(tmp_path / "a") == amended
    assert amended.passport == dataclasses.replace(artifact.passport, state="failed", reason=" [31mred\nline")
    before = (tmp_path / "a" / "passport.json").read_bytes()
    with pytest.raises(TypeError, match="weights_sha256"):
        amended.amend(weights_sha256="0" * 64)
    with pytest.raises(TypeError, match="parity"):
        amended.amend(parity={})
    for figures in ({"max_abs": float("nan")}, {"max_abs": np.float32(1)}):
        with pytest.raises(ArtifactError, match="cannot be written"):
            amended.record(parity_evidence(figures, "verified", "", where={}, using={}))
    with pytest.raises(ArtifactError, match="state"):
        amended.amend(state="fine")
    assert (tmp_path / "a" / "passport.json").read_bytes() == before
    assert "passport.json" in names(tmp_path / "a")
    assert len(names(tmp_path / "a")) == 5


def test_errors_inside_the_block_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ArtifactWriter(tmp_path / "x" / "y" / "a") as writer:
        (writer.folder / "model.onnx").touch()
        _ = 1 / 0
    with pytest.raises(KeyboardInterrupt), ArtifactWriter(tmp_path / "a"):
        raise KeyboardInterrupt
    with ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.onnx").touch()
    with pytest.raises(OutputError, match="disk is full"), ArtifactWriter(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    with pytest.raises(ArtifactError, match="not one of"), ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "other.onnx").touch()
        writer.commit(passport())
    with pytest.raises(ArtifactError, match="no file"), ArtifactWriter(tmp_path / "a") as writer:
        writer.commit(passport())
    with pytest.raises(ArtifactError, match="links"), ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.onnx").symlink_to("/etc/hostname")
        writer.commit(passport())
    assert names(tmp_path) == []


def test_a_library_that_hides_why_it_could_not_write(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits on file sizes are Unix")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match="largest size allowed"), ArtifactWriter(tmp_path / "a"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            raise RuntimeError("basic_ios::clear: iostream error")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []


def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "p.jpg").touch()
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    write(tmp_path / "old", content=b"old")
    before = names(tmp_path)
    for overwrite in (False, True):
        for name, words in (("photos", "no artifact"), ("file", "in the way"), ("dangling", "in the way")):
            with pytest.raises(OutputError, match=words):
                write(tmp_path / name, overwrite=overwrite)
        with pytest.raises(OutputError, match=r"file, not a folder|part of the path"):
            write(tmp_path / "file" / "a", overwrite=overwrite)
    with pytest.raises(OutputError, match="exists already"):
        write(tmp_path / "old")
    assert names(tmp_path) == before
    assert Artifact.open(tmp_path / "old").model_path.read_bytes() == b"old"
    with pytest.raises(ZeroDivisionError), ArtifactWriter(tmp_path / "old", overwrite=True):
        _ = 1 / 0
    assert Artifact.open(tmp_path / "old").model_path.read_bytes() == b"old"
    write(tmp_path / "old", overwrite=True, content=b"new")
    assert Artifact.open(tmp_path / "old").model_path.read_bytes() == b"new"
    assert names(tmp_path) == before
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    (tmp_path / "old" / "my photo.jpg").touch()
    with pytest.raises(OutputError, match=r"my photo\.jpg in it is no part"):
        write(tmp_path / "old", overwrite=True)
    (tmp_path / "old" / "passport.json").write_text("{}")
    with pytest.raises(OutputError, match="not overwritten"):
        write(tmp_path / "old", overwrite=True)
    assert (tmp_path / "old" / "my photo.jpg").exists()


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    root = os.geteuid() == 0
    tmp_path.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(OutputError, match="permission denied"):
            write(tmp_path / "a")
        with pytest.raises(ArtifactError, match="cannot be read"):
            Artifact.open(tmp_path / "a")
    finally:
        if root:
            os.seteuid(0)
        tmp_path.chmod(0o700)


def test_ctrl_c_while_building_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from fdikp_edge.runtime.artifact import ArtifactWriter
with ArtifactWriter({str(tmp_path / "new" / "a")!r}) as writer:
    (writer.folder / "model.onnx").write_bytes(b"x" * 1000)
    time.sleep(60)
"""
    running = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(name.endswith("model.onnx") for name in names(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, printed = running.communicate(timeout=60)
    assert "KeyboardInterrupt" in printed
    assert names(tmp_path) == []


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b + b"x", lambda b: b"", lambda b: b"\0" * 99]
)
def test_a_damaged_passport(tmp_path: Path, damage: Damage) -> None:
    write(tmp_path / "a")
    file = tmp_path / "a" / "passport.json"
    file.write_bytes(damage(file.read_bytes()))
    refused(tmp_path / "a", r"passport\.json")
