"""Every way a bundle can be wrong is refused: typed, exit code 2, and nothing is left behind."""

from __future__ import annotations

import json
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.device import entry
from fdikp_edge.runtime.device.bundle import Bundle, check_bundle
from fdikp_edge.runtime.errors import BundleError
from hypothesis import given, settings
from hypothesis import strategies as st

Entries = list[tuple[zipfile.ZipInfo, bytes]]


def read(bundle: Path) -> Entries:
    with zipfile.ZipFile(bundle) as archive:
        return [(info, archive.read(info)) for info in archive.infolist()]


def write(path: Path, entries: Entries, comment: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = comment
        for info, data in entries:
            fresh = zipfile.ZipInfo(info.filename, info.date_time)
            fresh.external_attr, fresh.compress_type = info.external_attr, info.compress_type
            archive.writestr(fresh, data)
    return path


def info(name: str, mode: int = 0o100644, packing: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr, entry.compress_type = mode << 16, packing
    return entry


def manifest_of(entries: Entries) -> dict[str, Any]:
    (data,) = [data for info, data in entries if info.filename == entry.MANIFEST]
    manifest: dict[str, Any] = json.loads(data)
    return manifest


def with_manifest(
    entries: Entries, change: Callable[[dict[str, Any]], None], *, sign: bool = True
) -> Entries:
    manifest = manifest_of(entries)
    change(manifest)
    if sign:
        manifest["manifest_sha256"] = entry.manifest_digest(manifest)
    rest = [(info, data) for info, data in entries if info.filename != entry.MANIFEST]
    return [*rest, (info(entry.MANIFEST), json.dumps(manifest).encode())]


def add_listed(
    entries: Entries, entry: zipfile.ZipInfo, data: bytes, listed_as: str | None = None
) -> Entries:
    """Add a file that the manifest lists, as an attacker would who writes the manifest too."""
    import hashlib

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"][listed_as or entry.filename] = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
        }

    return [*with_manifest(entries, change), (entry, data)]


def altered(entries: Entries) -> Entries:
    return [
        (i, data[:-1] + bytes([data[-1] ^ 1]) if i.filename.endswith("model.onnx") else data)
        for i, data in entries
    ]


HOSTILE: dict[str, tuple[Callable[[Entries], Entries], str]] = {
    "altered file": (altered, "was altered"),
    "altered program": (
        lambda e: [(i, data + b"\n#" if i.filename == "__main__.py" else data) for i, data in e],
        "was altered",
    ),
    "missing file": (
        lambda e: [x for x in e if not x[0].filename.endswith("golden_input.npy")],
        "is missing",
    ),
    "extra file": (lambda e: [*e, (info("more.py"), b"print(1)")], "is not listed"),
    "no manifest": (lambda e: [x for x in e if x[0].filename != entry.MANIFEST], "no manifest"),
    "edited manifest": (
        lambda e: with_manifest(e, lambda m: m.update(device="x"), sign=False),
        "was changed",
    ),
    "newer version": (lambda e: with_manifest(e, lambda m: m.update(version=2)), "is newer"),
    "unknown version": (lambda e: with_manifest(e, lambda m: m.update(version="1")), "unknown"),
    "another format": (lambda e: with_manifest(e, lambda m: m.update(format="x")), "is not the manifest"),
    "not JSON": (
        lambda e: [(i, b"{" if i.filename == entry.MANIFEST else data) for i, data in e],
        "manifest.json",
    ),
    "program of another": (lambda e: with_manifest(e, lambda m: m.update(program="os")), "none of ours"),
    "lacks a key": (lambda e: with_manifest(e, lambda m: m.pop("wheel")), "wheel"),
    "no device": (lambda e: with_manifest(e, lambda m: m.pop("device")), "device"),
    "device is a number": (lambda e: with_manifest(e, lambda m: m.update(device=1)), "device"),
    "made_with is text": (lambda e: with_manifest(e, lambda m: m.update(made_with="x")), "made_with"),
    "no made_with": (lambda e: with_manifest(e, lambda m: m.pop("made_with")), "made_with"),
    "a long name": (lambda e: with_manifest(e, lambda m: m.update(photo="x" * 6000)), "photo"),
    "climbs out": (lambda e: add_listed(e, info("../evil.py"), b"x"), "not a plain name"),
    "climbs out inside": (lambda e: add_listed(e, info("photo/../../evil"), b"x"), "not a plain name"),
    "absolute": (lambda e: add_listed(e, info("/tmp/evil.py"), b"x"), "not a plain name"),
    "drive": (lambda e: add_listed(e, info("C:/evil.py"), b"x"), "not a plain name"),
    "backslash": (lambda e: add_listed(e, info("..\\evil.py"), b"x"), "not a plain name"),
    "device name": (lambda e: add_listed(e, info("photo/nul.txt"), b"x"), "not a plain name"),
    "control characters": (lambda e: add_listed(e, info("photo/\x1b[31m"), b"x"), "not a plain name"),
    "link": (
        lambda e: add_listed(e, info("photo/link", stat.S_IFLNK | 0o777, zipfile.ZIP_STORED), b"/etc/passwd"),
        "is a link",
    ),
    "device file": (lambda e: add_listed(e, info("photo/dev", stat.S_IFCHR | 0o666), b""), "is a link"),
    "folder": (lambda e: [*e, (info("photo/empty/", stat.S_IFDIR | 0o755), b"")], "not a plain name"),
    "same name twice": (lambda e: [*e, (info("photo/LICENSE.txt"), b"x")], "twice"),
    "same name to some systems": (lambda e: add_listed(e, info("photo/license.TXT"), b"x"), "twice"),
    "bomb": (lambda e: add_listed(e, info("bomb.bin"), bytes(8 << 20)), "would grow"),
    "other packing": (
        lambda e: add_listed(e, info("x.bin", packing=zipfile.ZIP_LZMA), b"x" * 100),
        "packed in a way",
    ),
    "too many": (lambda e: [*e, *((info(f"x/{n}"), b"") for n in range(entry.MAX_ENTRIES))], "more than"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bundles_are_refused(name: str, small_bundle: Path, tmp_path: Path) -> None:
    change, reason = HOSTILE[name]
    bad = write(tmp_path / "bad.bundle", change(read(small_bundle)))
    cache = tmp_path / "cache"
    with pytest.raises(BundleError, match=reason) as refused:
        Bundle.open(bad, cache)
    assert len(str(refused.value)) < 1000
    assert refused.value.exit_code == 2 and "bad.bundle" in str(refused.value)
    assert not cache.exists() or list(cache.iterdir()) == []
    assert not (tmp_path / "evil.py").exists()
    with pytest.raises(BundleError):
        check_bundle(bad)


def test_a_sound_bundle_written_by_the_same_means_is_taken(small_bundle: Path, tmp_path: Path) -> None:
    entries = read(small_bundle)
    again = write(tmp_path / "good.bundle", with_manifest(entries, lambda m: None))
    assert Bundle.open(again, tmp_path / "cache").names == ["half-onnx-fp32", "half-onnx-int8"]


def test_data_around_the_archive_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(b"#!/bin/sh\nrm -rf x\n" + small_bundle.read_bytes())
    with pytest.raises(BundleError, match="around the archive"):
        check_bundle(bad)
    with pytest.raises(BundleError, match="around the archive"):
        check_bundle(write(bad, read(small_bundle), comment=b"x"))


def test_encrypted_entries_are_refused(small_bundle: Path, tmp_path: Path) -> None:
    data = bytearray(small_bundle.read_bytes())
    at = data.rindex(b"PK\x01\x02")  # the last entry of the central directory
    struct.pack_into("<H", data, at + 8, struct.unpack_from("<H", data, at + 8)[0] | 1)
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(data)
    with pytest.raises(BundleError, match="encrypted"):
        check_bundle(bad)


def test_sizes_that_lie_are_found_while_reading(small_bundle: Path, tmp_path: Path) -> None:
    """A bomb whose archive says that it is small: no more is read than the manifest allows."""
    data = bytearray(small_bundle.read_bytes())
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(b"photo/astronaut-defocused.npy", data.index(mark)) - (46 if mark[2] == 1 else 30)
        struct.pack_into("<I", data, at + offset, 10)
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(data)
    with pytest.raises(BundleError, match=r"photo/astronaut-defocused\.npy"):
        check_bundle(bad)


@pytest.mark.parametrize("part", [0, 0.3, 0.9, 0.999])
def test_truncated_bundles_are_refused(part: float, small_bundle: Path, tmp_path: Path) -> None:
    data = small_bundle.read_bytes()
    bad = tmp_path / "bad.bundle"
    bad.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(BundleError, match="truncated"):
        Bundle.open(bad, tmp_path / "cache")


@settings(max_examples=25)
@given(data=st.data())
def test_no_flipped_byte_goes_unnoticed(
    data: st.DataObject, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever byte is damaged, the bundle is refused in words or what is read is what was written."""
    content = bytearray(small_bundle.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    bad = tmp_path_factory.mktemp("flipped") / "bad.bundle"
    bad.write_bytes(content)
    try:
        manifest = check_bundle(bad)
    except BundleError:
        return
    assert manifest == check_bundle(small_bundle)


def test_other_things_are_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BundleError):
            check_bundle(path)


def test_a_damaged_cache_is_made_anew(small_bundle: Path, tmp_path: Path) -> None:
    folder = Bundle.open(small_bundle, tmp_path).folder
    program = folder / entry.SITE / "fdikp_edge" / "runtime" / "files.py"
    good = program.read_bytes()
    program.write_bytes(good + b"\nprint('altered')")
    (folder / entry.SITE / "extra.py").write_text("x")
    assert Bundle.open(small_bundle, tmp_path).folder == folder
    assert program.read_bytes() == good and not (folder / entry.SITE / "extra.py").exists()


def test_damage_is_noticed_where_a_sound_copy_is_unpacked_already(small_bundle: Path, tmp_path: Path) -> None:
    folder = Bundle.open(small_bundle, tmp_path).folder
    bad = write(tmp_path / "bad.bundle", altered(read(small_bundle)))
    with pytest.raises(BundleError, match="was altered"):
        Bundle.open(bad, tmp_path)
    assert Bundle.open(small_bundle, tmp_path).folder == folder


@pytest.mark.skipif(sys.platform == "win32", reason="modes of folders")
def test_a_cache_that_others_may_write_to_is_not_used(small_bundle: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(BundleError, match="others may write"):
        Bundle.open(small_bundle, shared)
    assert list(shared.iterdir()) == []


def test_a_cache_that_cannot_be_made_is_a_message(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=entry.CACHE_VARIABLE):
        Bundle.open(small_bundle, tmp_path / "file" / "cache")

    def nobody(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in (entry.CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", classmethod(nobody))
    with pytest.raises(BundleError, match="no home folder"):
        Bundle.open(small_bundle)


def test_a_full_disk_leaves_nothing(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(target: Path, chunks: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(entry, "_write", full)
    with pytest.raises(BundleError, match="No space left"):
        Bundle.open(small_bundle, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_entry_script_itself_refuses(small_bundle: Path, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.bundle", altered(read(small_bundle)))
    done = subprocess.run(
        [sys.executable, str(bad), "info"],
        env={entry.CACHE_VARIABLE: str(tmp_path / "cache"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "was altered" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "cache").iterdir())
