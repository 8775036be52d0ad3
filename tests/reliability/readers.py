"""Every reader of outside files: a right file for it, the damage done to it, and what a right result is."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutate as m
import reading as j
import seeds as s
import typed
import videos as v

Read = Callable[[Path], Any]
Judge = Callable[[Path, Any], str]
"""Of the damaged file and what was read from it: why that is wrong, or nothing."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader, and the cases for it."""

    name: str
    seed: Callable[[Path], Path]
    """Writes a right file or folder into a folder that is empty, and returns it."""
    damage: tuple[tuple[str, m.Mutator], ...]
    """Files below the seed (``""``: itself) with what is done to them; one is drawn for each case."""
    read: Read
    judge: Judge = lambda path, result: ""
    mend: Callable[[Path, random.Random], None] = lambda path, rng: None
    """Makes hashes right again."""
    memory_mb: int = 400
    """What a case may take."""
    cpu_s: float = 10.0
    """Time of the processor that a case may take. The slowest that is right takes about one second."""
    writes: bool = False
    """It may write beside its files, where it is told to."""
    share: float = 1.0
    """Of the cases that are asked for: fewer where one takes long."""

    def make_case(self, case: Path, rng: random.Random) -> None:
        """Damage a copy of the seed in place."""
        inner, mutator = rng.choice(self.damage)
        file = case / inner if inner else case
        file.write_bytes(mutator(rng, file.read_bytes()))
        self.mend(case, rng)


_MODEL = "Data/com.apple.CoreML/model.mlmodel"
_WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


_PHOTOS = {
    "JPEG": (s.photo(".jpg", 8), ()),
    "JPEG, progressive grey, EXIF": (s.pillow(".jpg", "L", progressive=True), ()),
    "PNG": (s.photo(".png", 8), (m.png_chunk, m.png_chunk)),
    "PNG, 16 bits": (s.photo(".png", 16), (m.png_chunk, m.png_chunk)),
    "PNG, alpha": (s.pillow(".png", "RGBA"), (m.png_chunk,)),
    "PNG, palette": (s.pillow(".png", "P"), (m.png_chunk,)),
    "TIFF": (s.photo(".tif", 8), (m.tiff_entry, m.tiff_entry)),
    "TIFF, 16 bits": (s.photo(".tif", 16), (m.tiff_entry, m.tiff_entry)),
    "TIFF, LZW": (s.pillow(".tif", "RGB", compression="tiff_lzw"), (m.tiff_entry,)),
    "WebP": (s.photo(".webp", 8), ()),
    "WebP, lossless alpha": (s.pillow(".webp", "RGBA", lossless=True), ()),
}


_JSON = (m.json_text, m.json_text, m.json_text, *m.BYTES)


def _all(*mutators: m.Mutator, inner: str = "") -> tuple[tuple[str, m.Mutator], ...]:
    return tuple((inner, mutator) for mutator in mutators)


def _videos() -> list[Reader]:
    """None where PyAV is not installed."""
    if importlib.util.find_spec("av") is None:
        return []
    return [
        Reader("video: MP4", v.seed(".mp4"), _all(v.number_in_index, *m.BYTES), v.run, v.judge),
        Reader("video: Matroska", v.seed(".mkv"), _all(m.flip_early, *m.BYTES), v.run, v.judge),
    ]


def _words(commands: dict[str, str]) -> m.Mutator:
    return lambda rng, data: json.dumps(typed.changed(rng, commands)).encode()


def _commands(name: str, commands: dict[str, str], cpu_s: float, share: float = 1.0) -> Reader:
    return Reader(
        name,
        typed.arena,
        _all(_words(commands), inner="words.json"),
        typed.run,
        typed.judge,
        memory_mb=1000,
        cpu_s=cpu_s,
        writes=True,
        share=share,
    )


def readers() -> dict[str, Reader]:
    """Return every reader by name."""
    passport = _all(*_JSON, inner="passport.json")
    pickled = m.member(m.any_of(*m.BYTES), "data.pkl")
    zipped = m.member(m.any_of(*m.BYTES))
    described = m.member(m.any_of(m.json_text, *m.BYTES), ".json")
    bundled = m.member(m.any_of(*m.BYTES), fix=s.rehash_bundle)
    manifest = m.member(m.json_text, "manifest.json", s.rehash_bundle)
    listed = [
        Reader(
            "safetensors",
            s.safetensors,
            _all(m.safetensors_header, m.safetensors_header, *m.BYTES),
            j.read_tensors,
            j.judge_safetensors,
        ),
        Reader("pth", s.pth, _all(pickled, pickled, zipped, *m.BYTES), j.read_tensors, j.judge_pth),
        Reader("npy sample", s.npy, _all(*m.BYTES), j.read_sample, j.judge_array),
        Reader("npz sample", s.npz, _all(zipped, zipped, *m.BYTES), j.read_sample, j.judge_array),
        Reader("onnx source", s.onnx, _all(m.protobuf, m.protobuf, m.protobuf, *m.BYTES), j.lower),
        Reader("pt2", s.pt2, _all(described, zipped, *m.BYTES), j.load_network),
        Reader(
            "onnx artifact",
            s.artifact,
            _all(m.protobuf, m.protobuf, m.protobuf, *m.BYTES, inner="model.onnx"),
            j.run_artifact,
            j.judge_run,
            s.rehash,
        ),
        Reader(
            "onnx int8 artifact",
            s.int8_artifact,
            _all(m.protobuf, m.protobuf, m.flip, m.cut, inner="model.onnx"),
            j.run_artifact,
            j.judge_run,
            s.rehash,
        ),
        Reader(
            "openvino artifact",
            s.openvino_artifact,
            (
                *_all(m.xml_text, m.xml_text, *m.BYTES, inner="model.xml"),
                *_all(m.flip, m.cut, inner="model.bin"),
            ),
            j.run_artifact,
            j.judge_run,
            s.rehash,
        ),
        Reader("passport", s.artifact, passport, j.open_artifact, j.judge_passport, s.resign),
        Reader("passport, version 1", s.old_artifact, passport, j.open_artifact, j.judge_passport, s.resign),
        Reader(
            "golden arrays",
            s.artifact,
            _all(*m.BYTES, inner="golden_input.npy"),
            j.golden,
            j.judge_golden,
            s.rehash,
        ),
        Reader(
            "mlpackage",
            s.package,
            (
                *_all(m.protobuf, m.protobuf, m.protobuf, *m.BYTES, inner=_MODEL),
                *_all(m.json_text, m.cut, inner="Manifest.json"),
                *_all(m.flip_early, m.number, m.cut, inner=_WEIGHTS),
            ),
            j.interpret,
        ),
        Reader("calibration table", s.table, _all(*_JSON), j.read_table, j.judge_table),
        Reader("report", s.report, _all(*_JSON), j.read_report, j.judge_report),
        Reader("baseline", s.baseline, _all(*_JSON), j.read_baseline, j.judge_baseline),
        Reader(
            "bundle", s.bundle, _all(manifest, manifest, bundled, *m.BYTES), j.read_bundle, j.judge_bundle
        ),
        Reader("telemetry", s.recording, _all(*m.BYTES), j.read_recording, j.judge_recording),
        Reader("error map", s.error_map, _all(m.png_chunk, m.png_chunk, *m.BYTES), j.read_map),
        *(
            Reader(f"photo: {name}", seed, _all(*extra, *m.BYTES), j.read_photo, j.judge_photo)
            for name, (seed, extra) in _PHOTOS.items()
        ),
        *_videos(),
        _commands("command lines", typed.LIGHT, 10.0),
        _commands("command lines, long", typed.HEAVY, 60.0, share=0.25),
    ]
    return {reader.name: reader for reader in listed}
