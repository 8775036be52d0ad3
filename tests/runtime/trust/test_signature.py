"""A signature holds for what was built, falls with any change of it, and lets evidence be added."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime import strict_json
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, OutputError
from fdikp_edge.runtime.evidence import latency_evidence, parity_evidence
from fdikp_edge.runtime.passport import Passport
from fdikp_edge.runtime.trust import keys, signature
from runtime_networks import passport

pytest.importorskip("cryptography", reason="signatures need cryptography")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[keys.PrivateKey, keys.PublicKey]:
    path = tmp_path_factory.mktemp("keys") / "team.key"
    public = keys.make_keys(path)
    return keys.read_private(path), keys.read_public(public.path)


@pytest.fixture
def signed(tmp_path: Path, pair: tuple[keys.PrivateKey, keys.PublicKey]) -> Path:
    with ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.onnx").write_bytes(b"model")
        (writer.folder / "golden").mkdir()
        for name in ("in", "out"):
            np.save(writer.folder / "golden" / f"{name}.npy", np.zeros((1, 3, 32, 32), np.float32))
        golden = {"inputs": ["golden/in.npy"], "outputs": ["golden/out.npy"]}
        artifact = writer.commit(passport(golden=golden))
    signature.sign_artifact(artifact.path, artifact.passport, pair[0])
    return artifact.path


def rewrite(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    """Change a passport as somebody does who knows how its digest is made."""
    data = json.loads((folder / "passport.json").read_bytes())
    data.pop("passport_sha256")
    change(data)
    (folder / "passport.json").write_text(json.dumps({**data, "passport_sha256": strict_json.digest(data)}))


def refused(folder: Path, key: keys.PublicKey, words: str) -> None:
    with signature.required(key), pytest.raises(ArtifactError, match=words) as caught:
        Artifact.open(folder)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message and len(message) < 400


def test_every_field_of_a_passport_is_either_signed_or_measured() -> None:
    fields = {field.name for field in dataclasses.fields(Passport)}
    assert fields == {*signature.SIGNED, *signature.MEASURED}
    assert not set(signature.SIGNED) & set(signature.MEASURED)


def test_evidence_can_be_added_to_what_was_signed(signed: Path, pair: tuple[object, keys.PublicKey]) -> None:
    with signature.required(pair[1]):
        artifact = Artifact.open(signed)
        artifact.record(
            latency_evidence({"p50": 1.5}, where={"cpu": "x"}, using={}),
            parity_evidence({"psnr_db": 99.0}, "verified", "", where={}, using={}),
        )
        again = Artifact.open(signed)
        again.amend(notes=["looked at"])
        assert Artifact.open(signed).passport.state == "verified"
        shutil.copytree(signed, signed.parent / "copy")
        Artifact.open(signed.parent / "copy")


def test_what_nobody_requires_is_not_looked_at(signed: Path) -> None:
    (signed / signature.SIGNATURE_NAME).write_text("not JSON")
    Artifact.open(signed)
    with signature.required(None):
        Artifact.open(signed)


@pytest.mark.parametrize("name", signature.SIGNED)
def test_any_change_of_what_was_built_is_refused(
    signed: Path, pair: tuple[object, keys.PublicKey], name: str
) -> None:
    def change(data: dict[str, object]) -> None:
        changed: dict[str, object] = {
            "weights_sha256": "1" * 64, "program_sha256": "2" * 64, "calibration_sha256": "3" * 64,
            "plan": [{"site": 1}], "precision_census": {"x": 1}, "toolchain": {"x": "1"},
            "image_contract": "uint8_nhwc" if data["image_contract"] != "uint8_nhwc" else "float_nchw",
            "golden": None, "model_file": "golden/in.npy",
        }  # fmt: skip
        if name in ("inputs", "outputs"):
            data[name][0]["name"] = "other"  # type: ignore[index]
        elif name == "files":
            (signed / "model.onnx").write_bytes(b"MODEL")
            data[name]["model.onnx"]["sha256"] = keys.hashlib.sha256(b"MODEL").hexdigest()  # type: ignore
        else:
            data[name] = changed.get(name, "other")

    rewrite(signed, change)
    Artifact.open(signed)  # its own hashes fit
    refused(signed, pair[1], "was changed after it was signed")


def test_a_changed_file_a_missing_signature_and_another_key(
    signed: Path, pair: tuple[object, keys.PublicKey], tmp_path: Path
) -> None:
    other = keys.make_keys(tmp_path / "other.key")
    refused(signed, other, "signature of another key")
    (signed / "model.onnx").write_bytes(b"MODEL")
    refused(signed, pair[1], "was altered")
    (signed / "model.onnx").write_bytes(b"model")
    (signed / signature.SIGNATURE_NAME).unlink()
    refused(signed, pair[1], "is not signed")


def test_another_key_that_claims_the_name_of_the_right_one(
    signed: Path, pair: tuple[object, keys.PublicKey], tmp_path: Path
) -> None:
    keys.make_keys(tmp_path / "other.key")
    artifact = Artifact.open(signed)
    other = keys.read_private(tmp_path / "other.key")
    with pytest.raises(OutputError, match="signature already"):
        signature.sign_artifact(signed, artifact.passport, other)
    file = signature.sign_artifact(signed, artifact.passport, other, overwrite=True)
    file.write_text(file.read_text().replace(other.public.id, pair[1].id))
    refused(signed, pair[1], "does not fit")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"{}", b'"a"', b"\xff", b"[" * 4000, b"x" * 5000, b'{"a": NaN}',
        b'{"format": "fdikp-edge signature", "version": 1, "algorithm": "ed25519", "key": 1, "signature": 1}',
        b'{"format": "fdikp-edge signature", "version": 2, "algorithm": "x", "key": "", "signature": ""}',
    ],
)  # fmt: skip
def test_files_that_are_no_signatures(
    signed: Path, pair: tuple[object, keys.PublicKey], content: bytes
) -> None:
    (signed / signature.SIGNATURE_NAME).write_bytes(content)
    refused(signed, pair[1], "signature.json: (is no signature|cannot be read)")
    with pytest.raises(ArtifactError):
        signature.signer(signed / signature.SIGNATURE_NAME)


def test_a_signature_of_a_bundle_is_none_of_an_artifact(
    tmp_path: Path, pair: tuple[keys.PrivateKey, keys.PublicKey]
) -> None:
    bundle = tmp_path / "a.bundle"
    bundle.write_bytes(b"bundle")
    signature.sign_bundle(bundle, pair[0])
    with signature.required(pair[1]):
        signature.check_bundle(bundle)
        bundle.write_bytes(b"bundlE")
        with pytest.raises(ArtifactError, match=r"a\.bundle.*the bundle was changed"):
            signature.check_bundle(bundle)


def test_keys_are_private_and_are_never_replaced(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        public = keys.make_keys(tmp_path / "k")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    private, shown = (tmp_path / "k").read_bytes(), public.path.read_bytes()
    for left in ({"k", "k.pub"}, {"k"}, {"k.pub"}):
        for name, data in (("k", private), ("k.pub", shown)):
            (tmp_path / name).unlink(missing_ok=True)
            if name in left:
                (tmp_path / name).write_bytes(data)
        with pytest.raises(OutputError, match="never replaced"):
            keys.make_keys(tmp_path / "k")
        there = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert there == {name: data for name, data in (("k", private), ("k.pub", shown)) if name in left}


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    def write(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    curve = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = forms.Encoding.PEM, forms.PrivateFormat.PKCS8
    other = write("ec.key", curve.private_bytes(pem, pkcs8, forms.NoEncryption()))
    shown = write("ec.pub", curve.public_key().public_bytes(pem, forms.PublicFormat.SubjectPublicKeyInfo))
    locked = ed25519.Ed25519PrivateKey.generate()
    sealed = write("locked.key", locked.private_bytes(pem, pkcs8, forms.BestAvailableEncryption(b"x")))
    keys.make_keys(tmp_path / "k")
    for read, path, words in (
        (keys.read_public, shown, "another kind"),
        (keys.read_private, other, "another kind"),
        (keys.read_private, sealed, "password"),
        (keys.read_public, tmp_path / "k", "is a private key"),
        (keys.read_private, tmp_path / "k.pub", "no private key"),
        (
            keys.read_public,
            write("bad", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            "PEM",
        ),
        (keys.read_public, write("empty", b""), "PEM"),
        (keys.read_private, write("large", b"x" * 20000), "larger"),
        (keys.read_public, tmp_path / "none", "no such file"),
        (keys.read_public, tmp_path, "folder"),
    ):
        with pytest.raises(BadInputError, match=words):
            read(path)
