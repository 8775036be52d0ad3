"""A small network as a web artifact, and its page in a real browser, each made once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.targets import get_target
from fdikp_edge.export.web.runtime_files import runtime_files
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import TargetUnavailableError
from fdikp_edge.runtime.web.browser import browser_problem, launch
from fdikp_edge.runtime.web.server import ArtifactServer


@pytest.fixture(scope="session")
def web_files() -> dict[str, bytes]:
    """The runtime's files: from the cache, or once through npm."""
    try:
        return runtime_files()
    except TargetUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def built(
    lowered: LoweredModel, web_files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    # Both runtimes are in it, so that tests of the page can ask for either.
    either = get_target("web:provider=auto")
    return build_artifact(lowered, either, "fp32", tmp_path_factory.mktemp("web") / "a")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra web)")
    if problem := browser_problem():
        pytest.skip(problem)
    with api.sync_playwright() as opened:
        yield opened


@pytest.fixture(scope="session")
def chromium(playwright: Any) -> Iterator[Any]:
    opened = launch(playwright)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def address(built: Artifact) -> Iterator[str]:
    with ArtifactServer(built) as server:
        yield server.url


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """A new tab with the artifact's page; its errors fail the test that uses it."""
    context = chromium.new_context(accept_downloads=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda entry: complaints.append(entry.text) if entry.type == "error" else None)
    opened.goto(address)
    yield opened
    context.close()
    assert complaints == []
