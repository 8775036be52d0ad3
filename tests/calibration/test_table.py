"""The table: what is in it, that it comes back whole, and all that is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.calibration.table import CalibrationTable, read_table
from fdikp_edge.export.build import LoweredModel
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.errors import CalibrationError


@pytest.fixture(scope="module")
def table(lowered: LoweredModel) -> CalibrationTable:
    return calibrate(lowered, count=4, least_work=0)


def section_of(content: Any) -> dict[str, Any]:
    """Return the one section of a table's file."""
    ((section,),) = (profiles.values() for profiles in content["programs"].values())
    found: dict[str, Any] = section
    return found


def test_it_comes_back_as_it_was(table: CalibrationTable, tmp_path: Path) -> None:
    table.write(tmp_path / "table.json")
    found = read_table(tmp_path / "table.json")
    assert found.sha256 == table.sha256
    assert found.sections == table.sections
    assert found.samples["tiles"] == 4


def test_equal_calibrations_give_equal_tables(table: CalibrationTable, lowered: LoweredModel) -> None:
    assert calibrate(lowered, count=4, least_work=0).sha256 == table.sha256
    assert calibrate(lowered, count=5, least_work=0).sha256 != table.sha256


def test_what_is_quantised_and_why_the_rest_is_not(table: CalibrationTable, lowered: LoweredModel) -> None:
    section = table.section(lowered.lowered.key)
    modules = {layer.module.removeprefix("model."): layer.reason for layer in section.layers}
    assert modules["head"] == modules["tail"] == ""
    assert "spectrum" in modules["mix"]
    assert all(layer.input in section.tensors for layer in section.quantised())


def test_another_program_is_refused(table: CalibrationTable) -> None:
    with pytest.raises(CalibrationError, match=r"made for other programs \(spectral-net"):
        table.section(("0" * 64, "default"))


def test_an_edit_by_hand_is_noticed(table: CalibrationTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table.write(path)
    content = json.loads(path.read_text())
    content["scheme"] = "minmax"
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="edited by hand"):
        read_table(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(version=1), "version is 1; this release reads 2: calibrate anew"),
        (lambda c: c.update(version=3), "version is 3"),
        (lambda c: c.update(format="other"), "format"),
        (lambda c: c.update(scheme="magic"), "scheme"),
        (lambda c: c.update(programs=[]), "no program"),
        (lambda c: c["programs"].update({key: {} for key in c["programs"]}), "no program"),
        (lambda c: c["programs"].update(dict.fromkeys(c["programs"], 3)), "not a usable"),
        (lambda c: c.pop("size"), "size"),
        (lambda c: section_of(c)["tensors"].clear(), "no range"),
        (lambda c: section_of(c)["layers"][0].update(macs=-1), "macs"),
        (lambda c: section_of(c)["layers"][0].update(node=3), "text"),
    ],
)
def test_a_table_with_a_right_digest_but_wrong_content_is_refused(
    table: CalibrationTable, tmp_path: Path, change: object, said: str
) -> None:
    path = tmp_path / "table.json"
    table.write(path)
    content = json.loads(path.read_text())
    content.pop("sha256")
    assert callable(change)
    change(content)
    path.write_bytes(strict_json.canonical({**content, "sha256": strict_json.digest(content)}))
    with pytest.raises(CalibrationError, match=said):
        read_table(path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": NaN}', b"3"])
def test_files_that_are_no_table(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(data)
    with pytest.raises(CalibrationError, match="not a usable calibration table"):
        read_table(path)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_table(tmp_path / "none.json")


def test_tensorrt_cache_holds_the_scales_as_big_endian_floats(
    table: CalibrationTable, lowered: LoweredModel, tmp_path: Path
) -> None:
    key = lowered.lowered.key
    tensor = next(iter(table.section(key).tensors))
    table.write_tensorrt_cache(tmp_path / "cache", key, {tensor: "image"})
    first, line = (tmp_path / "cache").read_text().splitlines()
    assert first.startswith("TRT-")
    name, bits = line.split(": ")
    assert name == "image"
    (scale,) = struct.unpack(">f", bytes.fromhex(bits))
    assert scale == pytest.approx(table.range_of(key, tensor) / 127)
