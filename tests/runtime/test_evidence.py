"""What was measured stays: a smaller check or a device's does not replace a larger one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError
from fdikp_edge.runtime.evidence import (
    MAX_EVIDENCE,
    Evidence,
    latency_evidence,
    parity_evidence,
)
from fdikp_edge.runtime.passport import Passport
from hypothesis import given
from hypothesis import strategies as st
from runtime_networks import passport

PC = {"cpu": "desk", "os": "Linux 6"}
BOARD = {"cpu": "board", "os": "Linux 5"}
ORT = {"runtime": "onnxruntime", "version": "1.23", "device": "CPU", "threads": 2}


def check(
    *photos: str,
    double: bool = True,
    state: str = "verified",
    where: dict[str, Any] = PC,
    error: float = 1e-6,
) -> Evidence:
    figures: dict[str, Any] = {
        "max_abs": error,
        "float64": {"max_abs": error} if double else None,
        "photos": [{"photo": name} for name in photos],
    }
    return parity_evidence(
        figures, state, "" if state == "verified" else "too far off", where=where, using=ORT
    )


def timing(p50: float, eager: float | None = None, where: dict[str, Any] = PC) -> Evidence:
    beside = {} if eager is None else {"eager_p50": eager}
    return latency_evidence({"p50": p50, "n": 100, **beside}, where=where, using=ORT)


GOLDEN = "golden input"


def test_a_check_on_a_device_is_added_and_replaces_nothing() -> None:
    built = passport().with_evidence(check("a", "b", "c"), timing(5.0, eager=20.0))
    device = built.with_evidence(check(GOLDEN, double=False, where=BOARD), timing(50.0, where=BOARD))
    assert [entry.where["cpu"] for entry in device.evidence] == ["desk", "desk", "board", "board"]
    assert (device.parity, device.latency_ms, device.measured_on) == (built.parity, built.latency_ms, PC)
    assert device.latency_ms is not None and device.latency_ms["eager_p50"] == 20.0
    assert device.parity is not None and device.parity["float64"] is not None
    assert [entry.against for entry in device.evidence] == ["eager", "eager", "golden", ""]


def test_fewer_photos_and_no_float64_replace_nothing() -> None:
    built = passport().with_evidence(check("a", "b", "c"))
    for smaller in (check("a"), check("a", "b", "d", double=False), check(GOLDEN, double=False)):
        assert built.with_evidence(smaller).parity == built.parity
        assert len(built.with_evidence(smaller).evidence) == 2
    larger = check("a", "b", "c", "d", error=2e-6)
    assert built.with_evidence(larger).parity == larger.figures


def test_the_same_measurement_again_takes_the_place_of_the_first() -> None:
    first = passport().with_evidence(check("a"), timing(5.0, 20.0))
    again = first.with_evidence(check("a", error=3e-6), timing(4.0, 21.0))
    assert len(again.evidence) == 2
    assert again.parity is not None and again.parity["max_abs"] == 3e-6
    assert again.latency_ms == {"p50": 4.0, "n": 100, "eager_p50": 21.0}


def test_a_failure_stays_until_the_same_check_passes() -> None:
    built = passport().with_evidence(check("a", "b"))
    assert (built.state, built.reason) == ("verified", "")
    failed = built.with_evidence(check(GOLDEN, double=False, state="failed", where=BOARD))
    assert (failed.state, failed.reason) == ("failed", "too far off")
    assert failed.with_evidence(check("a", "b", "c")).state == "failed", "a check elsewhere does not undo it"
    assert failed.with_evidence(check(GOLDEN, double=False, where=BOARD)).state == "verified"


@given(st.lists(st.tuples(st.sampled_from(["a", "b", GOLDEN]), st.integers(0, 60)), max_size=60))
def test_evidence_is_bounded_and_the_best_is_never_dropped(entries: list[tuple[str, int]]) -> None:
    held = passport().with_evidence(check("a", "b", "c"), timing(5.0, eager=20.0))
    for name, machine in entries:
        where = {"cpu": str(machine)}
        held = held.with_evidence(check(name, double=False, where=where), timing(9.0, where=where))
    assert len(held.evidence) <= MAX_EVIDENCE
    assert held.parity is not None and len(held.parity["photos"]) == 3
    assert held.latency_ms is not None and held.latency_ms["eager_p50"] == 20.0
    assert Passport.from_json(held.to_json()).evidence == held.evidence


def older(version: int) -> dict[str, Any]:
    """A passport as formats 1 and 2 hold it: one check, one timing, one machine."""
    data = json.loads(json.dumps(passport().to_dict()))
    del data["evidence"]
    data.update(
        format_version=version,
        parity=check("a", "b").figures,
        latency_ms=timing(5.0, 20.0).figures,
        measured_on=PC,
        state="verified",
    )
    if version == 1:
        del data["source"], data["image_contract"]
        for key in ("input", "output"):
            (data[key],) = data.pop(f"{key}s")
    return data


@pytest.mark.parametrize("version", [1, 2])
def test_figures_of_older_passports_become_evidence(version: int) -> None:
    data = older(version)
    read = Passport.from_dict(data)
    assert read.to_dict() == data, "opened and written unchanged, it is what it was"
    assert [(entry.measured, entry.against, entry.when) for entry in read.evidence] == [
        ("parity", "eager", ""),
        ("latency", "eager", ""),
    ]
    on_board = read.with_evidence(check(GOLDEN, double=False, where=BOARD))
    assert on_board.format_version == 3 and len(on_board.evidence) == 3
    assert (on_board.parity, on_board.latency_ms) == (read.parity, read.latency_ms)
    assert Passport.from_json(on_board.to_json()) == on_board


@pytest.mark.parametrize("photos", [3, "abc", [1, None, {}, {"photo": 3}], None])
def test_figures_of_any_form_in_older_passports_do_no_harm(photos: object) -> None:
    data = older(2)
    data["parity"] = {"photos": photos}
    assert Passport.from_dict(data).evidence[0].samples == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"measured": "size"}, "measured"),
        ({"against": "nothing"}, "against"),
        ({"state": "good"}, "state"),
        ({"samples": "a"}, "samples"),
        ({"samples": [1]}, "samples"),
        ({"where": None}, "where"),
        ({"figures": []}, "figures"),
        ({"extra": 1}, "unknown key"),
    ],
)
def test_evidence_of_another_form_is_refused(change: dict[str, Any], words: str) -> None:
    data = json.loads(json.dumps(passport().with_evidence(check("a")).to_dict()))
    data["evidence"][0].update(change)
    signed = json.dumps({**data, "passport_sha256": strict_json.digest(data)}).encode()
    with pytest.raises(ArtifactError, match=words):
        Passport.from_json(signed)


def test_recording_changes_the_passport_and_no_other_file(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.onnx").write_bytes(b"model")
        artifact = writer.commit(passport())
    recorded = artifact.record(check("a"))
    opened = Artifact.open(tmp_path / "a")
    assert opened == recorded and opened.passport.state == "verified"
    assert opened.passport.files == artifact.passport.files
    assert (tmp_path / "a" / "model.onnx").read_bytes() == b"model"


def test_what_is_made_from_an_artifact_has_no_evidence_yet() -> None:
    measured = passport().with_evidence(check("a"), timing(5.0))
    fresh = measured.unmeasured("built on a board", target="tensorrt")
    assert (fresh.state, fresh.reason, fresh.target) == ("unverified", "built on a board", "tensorrt")
    assert (fresh.evidence, fresh.parity, fresh.latency_ms, fresh.measured_on) == ([], None, None, None)
    assert dataclasses.replace(fresh, target="onnx", reason="") == passport()


def test_two_who_opened_the_same_artifact_lose_nothing_of_each_other(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.onnx").write_bytes(b"model")
        writer.commit(passport())
    one, two = Artifact.open(tmp_path / "a"), Artifact.open(tmp_path / "a")
    one.record(dataclasses.replace(check("a"), state="failed", reason="wrong"))
    two.record(check("b"))
    now = Artifact.open(tmp_path / "a").passport
    assert [entry.samples for entry in now.evidence] == [("a",), ("b",)]
    assert now.state == one.record().passport.state


def test_an_artifact_that_was_replaced_meanwhile_is_left_alone(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        with ArtifactWriter(tmp_path / "a", overwrite=True) as writer:
            (writer.folder / "model.onnx").write_bytes(content)
            writer.commit(passport())
        if content == b"old":
            opened = Artifact.open(tmp_path / "a")
    with pytest.raises(ArtifactError, match="was replaced by another artifact meanwhile"):
        opened.record(check("a"))
    assert not Artifact.open(tmp_path / "a").passport.evidence


def test_names_of_photos_that_cannot_be_printed_do_not_lose_the_artifact(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.onnx").write_bytes(b"model")
        artifact = writer.commit(passport())
    artifact.record(check("a\udcff\x1b[31m\u202egnp.png"))
    (entry,) = Artifact.open(tmp_path / "a").passport.evidence
    assert entry.samples == ("a  [31m gnp.png",)
