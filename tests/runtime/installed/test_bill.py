"""The bill of materials names what is installed, in the form that CycloneDX asks for."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
from fdikp_edge.runtime.installed import bill

WHEN = "2026-01-02T03:04:05+00:00"


def test_it_names_what_is_installed_and_nothing_else() -> None:
    packages = bill.packages()
    assert next(iter(packages)) == "fdikp-edge"
    assert packages["numpy"] == importlib.metadata.version("numpy")
    assert packages["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert all(importlib.metadata.version(name) == version for name, version in packages.items())
    assert not packages.keys() & {"pytest", "hypothesis", "ruff", "mypy", "pip"}


def test_every_reference_exists_once() -> None:
    document = bill.bill(WHEN)
    components = [document["metadata"]["component"], *document["components"]]
    names = [component["bom-ref"] for component in components]
    assert len(set(names)) == len(names) == len(document["dependencies"])
    for entry in document["dependencies"]:
        assert entry["ref"] in names and set(entry["dependsOn"]) <= set(names)
        assert len(set(entry["dependsOn"])) == len(entry["dependsOn"])
    numpy = f"pkg:pypi/numpy@{importlib.metadata.version('numpy')}"
    assert numpy in document["dependencies"][0]["dependsOn"]
    json.dumps(document, allow_nan=False)


def test_packages_that_are_missing_or_ask_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {
        "fdikp-edge": 'a>=1\nb[x]~=2 ; extra == "one"\nc ; extra == "dev"\nnone-of-it',
        "a": 'B.b\nc ; extra == "other"',
        "b-b": "a\nfdikp_edge",
        "b": "",
        "c": "",
    }
    for name, lines in wanted.items():
        folder = tmp_path / f"{name.replace('-', '_')}-1+local.dist-info"
        folder.mkdir()
        needs = "".join(f"Requires-Dist: {line}\n" for line in lines.splitlines())
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1+local\n{needs}")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setattr("sys.meta_path", [importlib.metadata.MetadataPathFinder()])
    assert list(bill.packages()) == ["fdikp-edge", "a", "b", "b-b"]
    first = bill.bill(WHEN)["dependencies"][0]
    assert first["dependsOn"] == ["pkg:pypi/a@1%2Blocal", "pkg:pypi/b@1%2Blocal"]


def test_it_fits_the_schema() -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="checked by `make sbom`, which installs CycloneDX's own library"
    )
    from cyclonedx.schema import SchemaVersion

    check = validation.JsonStrictValidator(SchemaVersion.V1_6)
    document = bill.bill(WHEN)
    assert check.validate_str(json.dumps(document)) is None
    document["components"][0]["type"] = "thing"
    assert check.validate_str(json.dumps(document)) is not None
