"""``fdikp-edge keygen``: a pair of keys for signatures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import show
from ..options import JsonOption


def keygen(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="PATH", help="Private key file; the public key is PATH.pub."),
    ] = Path("fdikp-edge.key"),
    json: JsonOption = False,
) -> int:
    """Make a pair of keys (Ed25519) to sign artifacts with.

    The private key signs: keep it where artifacts are built. The public key goes to the devices. Neither file
    is ever replaced.
    """
    from ...runtime.trust.keys import make_keys

    public = make_keys(out)
    if json:
        show.as_json({"private": str(out), "public": str(public.path), "id": public.id})
        return 0
    show.facts("Keys", [("private key", str(out)), ("public key", str(public.path)), ("id", public.id)])
    show.line(f"Sign with --key {out}; on devices: --require-signature {public.path.name}")
    return 0
