"""The table: what is in it, that it comes back whole, and all that is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.calibration.fp16_islands import HALF_TILES
from fdikp_edge.calibration.layers import NO_FASTER
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.table import CalibrationTable, calibrate_program, read_table
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.errors import CalibrationError
from hypothesis import given, settings
from hypothesis import strategies as st
from spectral_net import SIZE


@pytest.fixture(scope="module")
def table(lowered: LoweredModel) -> CalibrationTable:
    return calibrate(lowered, count=4, least_work=0)


def section_of(content: Any) -> dict[str, Any]:
    """Return the one section of a table's file."""
    ((section,),) = (profiles.values() for profiles in content["programs"].values())
    first: dict[str, Any] = section
    return first


def quantised(content: Any) -> dict[str, Any]:
    """Return the last layer in 8 bits: its result is nothing that another one reads."""
    last: dict[str, Any] = [layer for layer in section_of(content)["layers"] if not layer["reason"]][-1]
    return last


def test_it_comes_back_as_it_was(table: CalibrationTable, tmp_path: Path) -> None:
    table.write(tmp_path / "table.json")
    again = read_table(tmp_path / "table.json")
    assert again.sha256 == table.sha256
    assert again.sections == table.sections
    assert again.samples["tiles"] == 4


def test_equal_calibrations_give_equal_tables(table: CalibrationTable, lowered: LoweredModel) -> None:
    assert calibrate(lowered, count=4, least_work=0).sha256 == table.sha256
    assert calibrate(lowered, count=5, least_work=0).sha256 != table.sha256


def test_a_table_for_fp16_alone_is_that_part_of_the_whole_and_gives_no_int8(
    lowered: LoweredModel, tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    own = lowered.for_profile("openvino")
    key = own.lowered.key
    table = calibrate(own, least_work=0)
    assert table.section(key).quantised() and table.section(key).for_int8
    steps: list[tuple[int, str]] = []
    alone = calibrate(
        own, least_work=0, for_int8=False, progress=lambda done, total, now: steps.append((total, now))
    )
    assert {total for total, _ in steps} == {HALF_TILES} and not [now for _, now in steps if "int8" in now]
    assert alone.sha256 == table.for_fp16().sha256 != table.sha256
    section = alone.section(key)
    assert section.half == table.section(key).half and not section.tensors and not section.for_int8
    assert [layer.node for layer in section.layers] == [layer.node for layer in table.section(key).layers]
    alone.write(tmp_path / "table.json")
    again = read_table(tmp_path / "table.json")
    assert again.sha256 == alone.sha256
    with pytest.raises(CalibrationError, match="made for fp16 alone"):
        build_artifact(own, "openvino", "int8", tmp_path / "int8", table=again)
    assert not (tmp_path / "int8").exists()
    ready = build_artifact(own, "openvino", "fp16", tmp_path / "fp16")
    assert ready.passport.calibration_sha256 == alone.sha256
    given = build_artifact(own, "openvino", "fp16", tmp_path / "given", table=table)
    for file in ("model.xml", "model.bin"):
        assert (ready.path / file).read_bytes() == (given.path / file).read_bytes()


def test_what_is_quantised_and_why_the_rest_is_not(table: CalibrationTable, lowered: LoweredModel) -> None:
    section = table.section(lowered.lowered.key)
    modules = {layer.module.removeprefix("model."): layer.reason for layer in section.layers}
    assert modules["head"] == modules["tail"] == ""
    assert "spectrum" in modules["mix"]
    assert all(layer.input in section.tensors for layer in section.quantised())


def test_another_program_is_refused(table: CalibrationTable) -> None:
    ((_, profile),) = table.sections
    with pytest.raises(CalibrationError, match=r"made for other programs \(spectral-net"):
        table.section(("0" * 64, profile))


def test_a_target_that_a_table_was_not_made_for_is_named(table: CalibrationTable) -> None:
    ((_, profile),) = table.sections
    with pytest.raises(CalibrationError, match=f"made for {profile}, not for coreml: .* --target"):
        table.section(("0" * 64, "coreml"))


def test_an_edit_by_hand_is_noticed(table: CalibrationTable, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    table.write(path)
    content = json.loads(path.read_text())
    content["scheme"] = "minmax"
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match="edited by hand"):
        read_table(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=1), "version is 1; this release reads 2: calibrate again"),
        (lambda c: c.update(version=3), "version is 3"),
        (lambda c: c.update(format="other"), "format"),
        (lambda c: c.update(scheme="magic"), "scheme"),
        (lambda c: c.update(programs=[]), "no program"),
        (lambda c: c["programs"].update({key: {} for key in c["programs"]}), "no program"),
        (lambda c: c["programs"].update(dict.fromkeys(c["programs"], 3)), "not a usable"),
        (lambda c: c.pop("size"), "size"),
        (lambda c: section_of(c)["tensors"].clear(), "no range"),
        (lambda c: section_of(c)["tensors"].pop(quantised(c)["node"]), "makes '.*no range"),
        (lambda c: c["programs"].update({"p" * 501: {"onnx": section_of(c)}}), "short text"),
        (lambda c: c["programs"].update(q={"p" * 501: section_of(c)}), "short text"),
        (lambda c: section_of(c)["layers"][0].update(macs=-1), "macs"),
        (lambda c: section_of(c)["layers"][0].update(node=3), "text"),
    ],
)
def test_a_table_with_a_right_digest_but_wrong_content_is_refused(
    table: CalibrationTable, tmp_path: Path, change: object, message: str
) -> None:
    path = tmp_path / "table.json"
    table.write(path)
    content = json.loads(path.read_text())
    content.pop("sha256")
    assert callable(change)
    change(content)
    path.write_bytes(strict_json.canonical({**content, "sha256": strict_json.digest(content)}))
    with pytest.raises(CalibrationError, match=message):
        read_table(path)


PROFILES = ("onnx", "openvino", "coreml")


@pytest.fixture(scope="module")
def shared(lowered: LoweredModel) -> tuple[list[LoweredModel], CalibrationTable, list[tuple[int, int]]]:
    """One program lowered for three profiles, their table, and what was told while it was made."""
    models = [lowered.for_profile(name) for name in PROFILES]
    told: list[tuple[int, int]] = []
    together = calibrate(
        models, count=4, least_work=0, progress=lambda done, total, _: told.append((done, total))
    )
    return models, together, told


def test_profiles_that_share_a_program_have_each_their_own_layers(
    shared: tuple[list[LoweredModel], CalibrationTable, list[tuple[int, int]]], tmp_path: Path
) -> None:
    models, together, told = shared
    assert len({model.lowered.sha256 for model in models}) == 1
    assert told[:4] == [(tile, 4) for tile in range(4)], "the photos are run once"
    assert set(told[4:]) == {(4, 4)}, "trials follow when all tiles are counted"
    together.write(tmp_path / "table.json")
    again = read_table(tmp_path / "table.json")
    assert again.sections == together.sections and again.sha256 == together.sha256
    layers = {}
    for model in models:
        alone = calibrate(model, count=4, least_work=0)
        assert again.section(model.lowered.key) == alone.section(model.lowered.key)
        assert again.only(model.lowered.key).sha256 == alone.sha256
        quantised = again.section(model.lowered.key).quantised()
        layers[model.lowered.plan.target] = {layer.module.removeprefix("model.") for layer in quantised}
    assert layers == {"onnx": set(), "openvino": {"head"}, "coreml": {"head", "tail"}}


def test_one_profiles_layers_are_changed_without_the_others(
    shared: tuple[list[LoweredModel], CalibrationTable, list[tuple[int, int]]],
) -> None:
    models, together, _ = shared
    onnx, openvino, coreml = (model.lowered.key for model in models)
    (head,) = together.section(openvino).quantised()
    changed = together.to_float(coreml, {head.node: "a reason"})
    assert [layer.node for layer in changed.section(openvino).quantised()] == [head.node]
    assert head.node not in {layer.node for layer in changed.section(coreml).quantised()}
    assert changed.section(onnx) == together.section(onnx)


def test_a_profile_that_the_table_was_not_made_for_is_refused_though_its_program_is_there(
    shared: tuple[list[LoweredModel], CalibrationTable, list[tuple[int, int]]], lowered: LoweredModel
) -> None:
    _, together, _ = shared
    with pytest.raises(
        CalibrationError, match=r"for onnx and openvino and coreml, not for tensorrt.*--target"
    ):
        together.section(lowered.for_profile("tensorrt").lowered.key)


_NODES = ("conv2d", "conv2d_1", "conv2d_2")


@settings(max_examples=10, deadline=None)
@given(st.lists(st.sets(st.sampled_from(_NODES)), min_size=1, max_size=4))
def test_whatever_each_leaves_alone_ranges_taken_together_are_those_taken_apart(
    lowered: LoweredModel, kept: list[set[str]]
) -> None:
    program = lowered.lowered.program
    samples = choose(shipped_photos(), SIZE, count=2).arrays()
    assert set(_NODES) <= {node.name for node in program.graph.nodes}
    recipes = {str(number): dict.fromkeys(nodes, "kept") for number, nodes in enumerate(kept)}
    together = calibrate_program(program, samples, recipes, least_work=0)
    for name, recipe in recipes.items():
        apart = calibrate_program(program, samples, {name: recipe}, least_work=0)
        assert together[name] == apart[name]
        assert {layer.node for layer in apart[name].quantised()}.isdisjoint(recipe)


def test_which_layers_store_their_weights_alone_is_a_field_and_not_a_reason(
    table: CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    for reason, field, expected in (("in any words", True, True), (NO_FASTER, False, False)):
        table.write(path)
        content = json.loads(path.read_text())
        del content["sha256"]
        layer = quantised(content)
        assert layer["weights_only"] is False
        layer |= {"reason": reason, "weights_only": field}
        content["sha256"] = strict_json.digest(content)
        path.write_text(json.dumps(content))
        layers = [one for section in read_table(path).sections.values() for one in section.layers]
        assert any(one.weights_only for one in layers) == expected, reason


def test_tables_of_version_0_1_0_name_those_layers_by_the_reason(
    table: CalibrationTable, tmp_path: Path
) -> None:
    path = tmp_path / "table.json"
    reason = "a product, computed no faster in 8 bits here: its weights alone are stored in them"
    for text, expected in ((reason, True), ("any other reason", False)):
        table.write(path)
        content = json.loads(path.read_text())
        del content["sha256"]
        last = quantised(content)
        for one in section_of(content)["layers"]:
            del one["weights_only"]
        last["reason"] = text
        content["sha256"] = strict_json.digest(content)
        path.write_text(json.dumps(content))
        layers = [one for section in read_table(path).sections.values() for one in section.layers]
        assert any(one.weights_only for one in layers) == expected, text


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
