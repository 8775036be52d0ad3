"""A passport comes back as it was written, and anything else is refused by the name of the key."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, FieldError
from fdikp_edge.runtime.passport import MAX_FILES, MAX_PASSPORT_BYTES, Passport, TensorContract
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_networks import passport

FILES = {"model.onnx": {"sha256": "c" * 64, "bytes": 10}, "golden/in.npy": {"sha256": "d" * 64, "bytes": 3}}


def full() -> Passport:
    return passport(
        files=copy.deepcopy(FILES),
        golden={"inputs": ["golden/in.npy"], "outputs": ["golden/in.npy"]},
        parity={"max_abs": 1e-6, "psnr_db": 120.5, "bands": [{"low": 0.0, "high": 0.5}]},
        latency_ms={"p50": 1.25, "n": 100},
        measured_on={"cpu": "x", "threads": 2},
        calibration_sha256="e" * 64,
        state="verified",
        notes=["größer"],
    )


def signed(data: dict[str, Any]) -> bytes:
    """What somebody would write who knows how the digest is made."""
    return json.dumps({**data, "passport_sha256": strict_json.digest(data)}).encode()


def test_round_trip() -> None:
    for original in (passport(), full()):
        assert Passport.from_json(original.to_json()) == original
        assert Passport.from_dict(original.to_dict()) == original
        assert original.to_json() == Passport.from_json(original.to_json()).to_json()


def test_an_edit_by_hand_is_noticed() -> None:
    edited = full().to_json().replace(b'"verified"', b'"unverified"')
    with pytest.raises(ArtifactError, match="was changed after it was written"):
        Passport.from_json(edited)
    reordered = json.dumps(json.loads(full().to_json()), sort_keys=True).encode()
    assert Passport.from_json(reordered) == full(), "the digest is over the values, not their order"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "utf-8"),
        (b"[]", "expected an object"),
        (b"{}", "no|missing"),
        (b'{"format_version": 1, "format_version": 1}', "twice"),
        (b'{"format_version": NaN}', "NaN"),
        (b'{"format_version": 1e999}', "not finite"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"format_version": "1"}', "not an fdikp-edge artifact"),
        (b'{"format_version": true}', "not an fdikp-edge artifact"),
        (b'{"format_version": 4}', "4 is newer than this release reads.*Update"),
        (b'{"format_version": 0}', "unknown"),
        (b'{"format_version": 1, "reason": "\\u001b[2J"}', "control characters"),
        (b'{"format_version": 1, "reason": "\\ud800"}', "control characters"),
        (b"[" * 100_000, "nested|Expecting"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested"),
        (b" " * (MAX_PASSPORT_BYTES + 1), "larger than"),
    ],
)
def test_what_is_no_passport_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as caught:
        Passport.from_json(data)
    assert "passport.json" in str(caught.value)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("target"), "lacks target"),
        (lambda d: d.update(extra=1), "unknown key 'extra'"),
        (lambda d: d.update(model=3), "model: expected text"),
        (lambda d: d.update(model=""), "model: expected text"),
        (lambda d: d.update(weights_sha256="A" * 64), "weights_sha256"),
        (lambda d: d.update(program_sha256=None), "program_sha256"),
        (lambda d: d.update(calibration_sha256="x"), "calibration_sha256"),
        (lambda d: d.update(state="good"), "state: expected one of"),
        (lambda d: d.update(state=["verified"]), "state: expected one of"),
        (lambda d: d.update(notes="text"), "notes: expected a list"),
        (lambda d: d.update(notes=[1]), r"notes\[0\]"),
        (lambda d: d.update(plan=[1]), r"plan\[0\]: expected an object"),
        (lambda d: d.update(precision_census={"a": -1}), "precision_census.a"),
        (lambda d: d.update(precision_census={"a": True}), "precision_census.a"),
        (lambda d: d.update(toolchain={"onnx": 1}), "toolchain.onnx"),
        (lambda d: d.update(parity=[]), "parity"),
        (lambda d: d.update(evidence={}), "evidence: expected a list"),
        (lambda d: d.update(evidence=[{}]), r"evidence\[0\]: lacks measured"),
        (lambda d: d.update(evidence=[0] * 33), "33 entries"),
        (lambda d: d.update(golden={"inputs": ["golden/in.npy"]}), "golden: lacks outputs"),
        (lambda d: d["golden"].update(inputs=["none.npy"]), "golden.*not one of the artifact's files"),
        (lambda d: d.update(model_file="other.onnx"), "model_file.*not one of the artifact's files"),
        (lambda d: d.update(inputs=None), "inputs: expected a list"),
        (lambda d: d["inputs"][0].pop("dtype"), r"inputs\[0\]: lacks dtype"),
        (lambda d: d["inputs"][0].update(dtype="float64"), r"inputs\[0\].dtype"),
        (lambda d: d["inputs"][0].update(shape=[1, 3, 32]), r"inputs\[0\].shape"),
        (lambda d: d["inputs"][0].update(shape=[1, 3, 32, 0]), r"inputs\[0\].shape"),
        (lambda d: d["inputs"][0].update(shape=[1, 3, 32, 32.0]), r"inputs\[0\].shape"),
        (lambda d: d["inputs"][0].update(shape=[65536, 65536, 65536, 3]), r"inputs\[0\].shape"),
        (lambda d: d["outputs"][0].update(value_range=[1, 0]), r"outputs\[0\].value_range"),
        (lambda d: d["outputs"][0].update(value_range=[0]), r"outputs\[0\].value_range"),
        (lambda d: d["outputs"][0].update(value_range=["0", "1"]), r"outputs\[0\].value_range"),
        (lambda d: d["files"]["model.onnx"].update(bytes=-1), "bytes"),
        (lambda d: d["files"]["model.onnx"].update(bytes=2**60), "more than"),
        (lambda d: d["files"]["model.onnx"].pop("sha256"), "lacks sha256"),
        (lambda d: d["files"].update({"MODEL.onnx": FILES["model.onnx"]}), "cannot tell apart"),
        (lambda d: d["files"].update({"passport.json": FILES["model.onnx"]}), "cannot tell apart"),
        (
            lambda d: d["files"].update({f"f{i}": FILES["model.onnx"] for i in range(MAX_FILES)}),
            "entries, more than",
        ),
    ],
)
def test_a_wrong_field_is_named_even_under_a_right_digest(change: Change, words: str) -> None:
    data = json.loads(json.dumps(full().to_dict()))
    change(data)
    with pytest.raises(ArtifactError, match=words):
        Passport.from_json(signed(data))


OUTSIDE = (
    "../model.onnx",
    "a/../../b",
    "/etc/passwd",
    "//host/share",
    "C:/x",
    "C:x",
    "a\\b",
    "..",
    ".",
    "",
    "a//b",
    "a/",
    "nul",
    "sub/COM1.txt",
    "trailing.",
    "trailing ",
    "new\nline",
    "zero\0",
    "x" * 241,
    "/".join("abcdefghijklm"),
    "wild*card",
    "a:stream",
)
"""What is no path of a file inside an artifact."""
NO_TEXT = (None, 7)


@pytest.mark.parametrize(
    ("place", "name"),
    [
        *itertools.product(("files", "model_file", "golden"), OUTSIDE),
        *itertools.product(("model_file", "golden"), NO_TEXT),  # keys of JSON, as in files, are always text
    ],
)
def test_paths_out_of_the_folder_are_refused(place: str, name: Any) -> None:
    data = json.loads(json.dumps(full().to_dict()))
    if place == "files":
        data["files"][name] = FILES["model.onnx"]
    elif place == "golden":
        data["golden"]["outputs"] = [name]
    else:
        data["model_file"] = name
    with pytest.raises(ArtifactError):
        Passport.from_dict(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(full().to_dict())), json_values)
@settings(max_examples=300, deadline=None)
def test_no_value_anywhere_raises_anything_but_an_artifact_error(key: str, value: Any) -> None:
    data = {**json.loads(json.dumps(full().to_dict())), key: value}
    try:
        Passport.from_json(signed(data))
    except (ArtifactError, ValueError) as error:
        assert isinstance(error, ArtifactError) or "JSON" in str(error)  # infinity: our own writer refuses


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}])
def test_what_json_cannot_hold_is_not_written(value: object) -> None:
    with pytest.raises(ArtifactError, match="cannot be written"):
        dataclasses.replace(full(), parity={"max_abs": value}).to_json()


def test_what_would_not_be_read_back_is_not_written() -> None:
    with pytest.raises(ArtifactError, match="weights_sha256"):
        dataclasses.replace(full(), weights_sha256="short").to_json()


def test_contract_sizes() -> None:
    assert (full().input.size, full().input.channels) == ((32, 32), 3)
    nhwc = passport((20, 30), "uint8").input
    assert (nhwc.size, nhwc.channels) == ((20, 30), 3)


def version_1() -> dict[str, Any]:
    """The same passport as releases before version 2 wrote it: one picture in, one out."""
    data = json.loads(json.dumps(full().to_dict()))
    data["format_version"] = 1
    del data["evidence"]
    data["image_contract"] = "float_nchw"
    del data["source"]
    for key in ("input", "output"):
        (data[key],) = data.pop(f"{key}s")
    data["golden"] = {"input": "golden/in.npy", "output": "golden/in.npy"}
    return data


def test_version_1_is_read_and_written_back_as_it_was() -> None:
    read = Passport.from_json(signed(version_1()))
    assert read.inputs == full().inputs and read.outputs == full().outputs
    assert read.golden == full().golden and read.golden_files == ("golden/in.npy",) * 2
    amended = dataclasses.replace(read, state="unverified", reason="measured again")
    assert {**amended.to_dict(), "state": "verified", "reason": ""} == version_1()
    with pytest.raises(ArtifactError, match="lacks output"):
        Passport.from_json(signed({key: v for key, v in version_1().items() if key != "output"}))


def test_several_inputs_and_outputs_of_any_kind() -> None:
    field = TensorContract(name="field", shape=(2, 1, 16, 16, 4), dtype="float32")
    mask = TensorContract(name="mask", shape=(16,), dtype="bool")
    several = dataclasses.replace(
        full(),
        inputs=(*full().inputs, field, mask),
        golden={"inputs": ["golden/in.npy"] * 3, "outputs": ["golden/in.npy"]},
        source="net.py:Net",
    )
    assert Passport.from_json(several.to_json()) == several
    assert not several.maps_pictures and full().maps_pictures
    with pytest.raises(BadInputError, match=r"3 inputs .image, field, mask."):
        _ = several.input
    with pytest.raises(BadInputError, match="no picture"):
        _ = field.size
    assert (field.extent, several.inputs[0].extent) == ((2, 1, 16, 16, 4), (32, 32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1] * 9}, "shape"),
        ({"shape": []}, "shape"),
        ({"shape": [1, 3, 32], "layout": "NCHW"}, "picture"),
        ({"layout": None}, "color_space"),
        ({"dtype": "complex64"}, "dtype"),
    ],
)
def test_contracts_that_contradict_themselves_are_refused(change: dict[str, Any], words: str) -> None:
    data = json.loads(json.dumps(full().to_dict()))
    data["inputs"][0].update(change)
    with pytest.raises(ArtifactError, match=words):
        Passport.from_dict(data)


def test_names_are_told_apart_and_golden_files_counted() -> None:
    data = json.loads(json.dumps(full().to_dict()))
    with pytest.raises(ArtifactError, match="same name"):
        Passport.from_dict({**data, "inputs": data["inputs"] * 2})
    with pytest.raises(ArtifactError, match="2 files for 1 inputs"):
        Passport.from_dict({**data, "golden": {**data["golden"], "inputs": ["golden/in.npy"] * 2}})
    with pytest.raises(ArtifactError, match="1 to 64 tensors"):
        Passport.from_dict({**data, "outputs": []})


@pytest.mark.parametrize(("dtype", "name"), [("float32", "float_nchw"), ("uint8", "uint8_nhwc")])
def test_a_passport_without_an_image_contract_is_read_by_its_dtype(dtype: str, name: str) -> None:
    data = version_1()
    data.pop("image_contract", None)  # as releases wrote it that did not record one
    data["input"]["dtype"] = dtype
    passport = Passport.from_json(signed(data))
    assert (passport.image_contract, passport.contract) == (None, name)
    assert "image_contract" not in passport.to_dict(), "an older artifact that is amended keeps its form"


def test_the_image_contract_that_is_recorded_counts() -> None:
    passport = dataclasses.replace(full(), image_contract="float_nhwc")
    again = Passport.from_json(passport.to_json())
    assert again.contract == "float_nhwc" and again == passport
    for wrong in (1, "", ["float_nchw"]):
        data = {**json.loads(json.dumps(passport.to_dict())), "image_contract": wrong}
        with pytest.raises(FieldError, match="image_contract") as raised:
            Passport.from_json(signed(data))
        assert raised.value.where == "image_contract" and "expected text" in raised.value.problem
