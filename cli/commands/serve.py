"""``fdikp-edge serve``: show the page of a web artifact on this machine."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from ...runtime.program import finish
from .. import show
from ..options import ArtifactArgument
from ..signature import checks_signatures


@checks_signatures
def serve(
    *,
    artifact: ArtifactArgument,
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="Port to listen on; 0 takes any that is free."),
    ] = 8000,
) -> int:
    """Show the page of a web artifact on this machine.

    Runs until Ctrl-C. The address is 127.0.0.1, which other machines cannot reach. The answers carry the
    headers that threads of WebAssembly need. Any other static server may serve the folder too.
    """
    from ...runtime.artifact import Artifact
    from ...runtime.web.server import ArtifactServer

    with ArtifactServer(Artifact.open(artifact), port) as server, contextlib.suppress(KeyboardInterrupt):
        show.line(f"{server.url} shows {artifact} (Ctrl-C stops it)")
        finish()  # a reader behind a pipe waits for the address
        server.wait()
    return 0
