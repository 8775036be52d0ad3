"""``fdikp-edge sign``: a signature for artifacts and bundles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..artifacts import open_artifacts
from ..guard import complain
from ..options import JsonOption

if TYPE_CHECKING:
    from ...runtime.trust.keys import PrivateKey


def sign(
    artifacts: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT", help="Artifact folders, the folder of a deploy, or bundles."),
    ],
    key: Annotated[Path, typer.Option("--key", "-k", metavar="PATH", help="Private key, written by keygen.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace signatures of other keys.")] = False,
    json: JsonOption = False,
) -> int:
    """Sign artifacts and bundles, for devices that require it.

    The signature covers all files and everything that the passport says about the build; evidence can still
    be added. A bundle gets a file beside it.
    """
    from ...runtime.trust.keys import read_private

    private = read_private(key)
    bundles = [path for path in artifacts if path.is_file()]
    written = _sign(bundles, [path for path in artifacts if path not in bundles], private, overwrite)
    if json:
        show.as_json({"key": private.public.id, "signatures": [str(path) for path in written]})
        return 0
    rows = [("key", private.public.id), *(("signature", str(path)) for path in written)]
    show.facts("Signed", rows)
    return 0


def _sign(
    bundles: Sequence[Path], folders: Sequence[Path], private: PrivateKey, overwrite: bool
) -> list[Path]:
    from ...runtime.device.bundle import check_bundle
    from ...runtime.trust.signature import sign_artifact, sign_bundle

    opened = open_artifacts(folders) if folders else []
    for path in bundles:
        check_bundle(path)
    written = [sign_bundle(path, private, overwrite=overwrite) for path in bundles]
    for artifact in opened:
        written.append(sign_artifact(artifact.path, artifact.passport, private, overwrite=overwrite))
        if artifact.passport.state != "verified":
            complain(f"{artifact.path}: signed although it is {artifact.passport.state}", kind="note")
    return written
