"""Build the documentation site into build/site, and fail on any broken link: python docs/build_site.py

Needs docs/requirements.txt. The API reference is read from the sources without importing them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", "models/**/*.md", "runtime/*.md")
ROOMS = ("runtime", "models", "calibration", "export", "benchmarks", "cli")

_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def gather(target: Path) -> list[Path]:
    """Copy all pages, and the files and pictures they link to, into ``target``, where they stand here.

    A link to a folder goes to its README, or loses its target where it has none: a site shows no folders.
    A link to a file in a hidden folder, which a site does not hold, loses its target too.

    Returns:
        The pages, relative to ``target``.

    Raises:
        SystemExit: a link leads out of the repository, or to nothing.
    """
    pages = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
    for page in pages:
        place = target / page.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_with_links(page, target), encoding="utf-8")
    return [page.relative_to(ROOT) for page in pages]


def _with_links(page: Path, target: Path) -> str:
    fences = re.split(r"(^```.*?^```$)", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)

    def link(match: re.Match[str]) -> str:
        address = match[2]
        if re.match(r"[a-z]+:", address):
            return match[0]
        linked = (page.parent / address).resolve()
        if not linked.exists() or not linked.is_relative_to(ROOT):
            raise SystemExit(f"{page.relative_to(ROOT)}: links to {address}, which is not in the repository")
        if linked.is_dir() and (linked / "README.md").is_file():
            linked /= "README.md"
        parts = linked.relative_to(ROOT).parts
        if linked.is_dir() or any(part.startswith(".") for part in parts):
            return f"{match[1]}{os.path.relpath(ROOT / 'CONTRIBUTING.md', page.parent)}#folders)"
        if linked.suffix != ".md":
            (target / Path(*parts)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(linked, target / Path(*parts))
        return f"{match[1]}{os.path.relpath(linked, page.parent).replace(os.sep, '/')}{match[3]}"

    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in fences)


def lay_out_package(target: Path) -> None:
    """Copy the rooms under one ``fdikp_edge`` folder, as an installation has them."""
    package = target / "fdikp_edge"
    shutil.copytree(ROOT / "package", package)
    for room in ROOMS:
        shutil.copytree(ROOT / room, package / room, ignore=shutil.ignore_patterns("__pycache__", "*.so"))


def main() -> int:
    """Build the site; the exit code is that of MkDocs, which fails on a broken link."""
    build = ROOT / "build"
    for folder in ("site-source", "package", "site"):
        shutil.rmtree(build / folder, ignore_errors=True)
    gather(build / "site-source")
    lay_out_package(build / "package")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(ROOT / "mkdocs.yml")]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
