"""A Python environment for one converter: what it holds, where it lies, and how it is made.

Some converters pull packages, or versions of packages, that this project's installation should not have. Each
of them gets an environment in the user's cache folder, made once by ``fdikp-edge setup NAME``, and a builder
runs a script of ours with its interpreter. The two exchange files.
"""

from __future__ import annotations

import collections
import hashlib
import importlib.metadata
import importlib.resources
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...runtime.errors import OutputError, TargetUnavailableError
from ...runtime.files import make_folder_beside, move_folder, output_error, remove_folder
from ...runtime.progress import Progress
from ...runtime.tensorrt.caches import cache_folder

FOLDER = "environments"
FACTS = "fdikp-edge.json"
"""Written last, so an environment without it is not finished."""
VARIABLE = "FDIKP_EDGE_{}_PYTHON"
"""Environment variable that names the interpreter of an environment made in another way."""
MAX_SECONDS = 3600.0
MAKE = ("-m", "venv")
"""What makes an empty environment with ``pip``."""


@dataclass(frozen=True)
class Environment:
    """What an environment holds.

    ``pins`` is a file of requirements beside the row, with every package and its version; ``package`` is the
    room it lies in. ``shared`` are distributions that must have the version of this installation, because
    files of theirs are exchanged. ``module`` is imported to see that it works; ``main`` is the distribution
    whose version stands for the whole. ``size`` says what it takes on the disk, in words.
    """

    name: str
    title: str
    package: str
    pins: str
    shared: tuple[str, ...]
    module: str
    main: str
    size: str

    def requirements(self) -> list[str]:
        """Return every package with its version, as ``pip`` takes it."""
        text = (importlib.resources.files(self.package) / self.pins).read_text(encoding="utf-8")
        listed = [line.partition("#")[0].strip() for line in text.splitlines()]
        versions = {name: importlib.metadata.version(name).partition("+")[0] for name in self.shared}
        return [*filter(None, listed), *(f"{name}=={version}" for name, version in versions.items())]

    @property
    def key(self) -> str:
        """What tells environments of other packages or another Python apart."""
        text = "\n".join([*self.requirements(), sys.version.split()[0], sys.base_prefix])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path | None:
        """Where it lies, made or not; ``None`` without a cache folder of this user alone."""
        root = cache_folder(FOLDER)
        return None if root is None else root / f"{self.name}-{self.key}"

    def python(self) -> Path | None:
        """Return its interpreter, ``None`` if it was not made."""
        named = os.environ.get(VARIABLE.format(self.name.upper()))
        if named:
            return Path(named) if Path(named).is_file() else None
        try:
            folder = self.folder
        except importlib.metadata.PackageNotFoundError:  # what must agree is not installed here
            return None
        if folder is None or not (folder / FACTS).is_file():
            return None
        return _interpreter(folder)

    def problem(self) -> str | None:
        """Say why a builder cannot use it, or ``None``."""
        variable = VARIABLE.format(self.name.upper())
        if os.environ.get(variable) and self.python() is None:
            return f"{variable} names {os.environ[variable]!r}, which is not a file"
        if self.python() is None:
            return (
                f"{self.title} needs an environment of its own, which was not made for this installation "
                f"(fdikp-edge setup {self.name}; {self.size})"
            )
        return None

    def facts(self) -> dict[str, str]:
        """Return what was installed: name, version and folder; empty if it was not made."""
        python = self.python()
        if python is None:
            return {}
        try:
            facts = json.loads((python.parent.parent / FACTS).read_text(encoding="utf-8"))
            return {str(key): str(value) for key, value in facts.items()}
        except (OSError, ValueError):
            return {"python": str(python)}


def make(
    row: Environment, progress: Progress = lambda done, total, now: None, *, again: bool = False
) -> Path:
    """Make an environment, whole or not at all, and return its folder. One that is there is kept.

    Args:
        row: what it holds.
        progress: called with packages done, packages in total, what is being done.
        again: replace one that is there.

    Raises:
        OutputError: it cannot be written.
        TargetUnavailableError: packages cannot be had here, or do not work; says what ``pip`` said.
    """
    try:
        folder = row.folder
    except importlib.metadata.PackageNotFoundError as error:
        raise TargetUnavailableError(
            f"setup {row.name}: {error.name} is not installed here, and both sides need the same version "
            '(pip install "fdikp-edge[export]")'
        ) from error
    if folder is None:
        raise OutputError(
            "there is no cache folder that only this user can write to: set XDG_CACHE_HOME to one"
        )
    if (folder / FACTS).is_file() and not again:
        return folder
    requirements = row.requirements()
    steps = 2 * len(requirements) + 3
    partial: Path | None = None
    try:
        partial = make_folder_beside(folder)
        progress(0, steps, "making a Python environment")
        _run([sys.executable, *MAKE, str(partial)], row, "venv")
        python = _interpreter(partial)
        _install(python, requirements, row, progress, steps)
        progress(steps - 2, steps, f"importing {row.module}")
        _run([str(python), "-I", "-c", f"import {row.module}"], row, f"import {row.module}")
        versions = dict(line.split("==") for line in requirements)
        facts = {"main": f"{row.main} {versions[row.main]}", "python": sys.version.split()[0]}
        (partial / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        move_folder(partial, folder)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        if partial is not None:
            remove_folder(partial)
    for old in folder.parent.glob(f"{row.name}-*"):
        if old != folder:
            remove_folder(old)
    progress(steps, steps, "done")
    return folder


def _install(
    python: Path, requirements: Sequence[str], row: Environment, progress: Progress, steps: int
) -> None:
    """Let ``pip`` install the packages, and nothing that they ask for besides: the list is complete."""
    words = [str(python), "-m", "pip", "install", "--no-deps", "--no-compile", "--no-input"]
    done = 0
    last: collections.deque[str] = collections.deque(maxlen=8)
    process = subprocess.Popen(
        [*words, "--progress-bar", "off", "--disable-pip-version-check", *requirements],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=_environment(),
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            last.append(line.strip())
            if line.startswith("Collecting "):
                done += 1
                progress(done, steps, f"fetching {line.split()[1]}")
            elif line.startswith("Installing "):
                progress(len(requirements) + 1, steps, f"installing {len(requirements)} packages (minutes)")
        code = process.wait(MAX_SECONDS)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code:
        message = " ".join(line for line in last if line.startswith("ERROR")) or " ".join(last)
        raise TargetUnavailableError(
            f"setup {row.name}: pip could not install the packages ({message[-400:]}). pip's own settings "
            "apply: an index, a proxy or a folder of wheels can be named in its configuration, or by "
            "PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and PIP_FIND_LINKS"
        )


def _run(words: Sequence[str], row: Environment, what: str) -> None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS, env=_environment()
        )
        why = "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-400:] or "no reason given"
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        raise TargetUnavailableError(f"setup {row.name}: {what} failed: {' '.join(why.split())}")


def _environment() -> Mapping[str, str]:
    """Return this process's variables without those by which Python would find packages of ours."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if key not in hidden}


def _interpreter(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
