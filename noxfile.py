"""The test matrix: oldest and newest supported libraries, and each supported Python. Not part of `make test`.

    pipx run --spec 'nox[uv]' nox -s oldest-3.11   # the oldest versions that pyproject.toml allows
    python tests/reliability/versions.py           # print the matrix of what ran

`oldest` installs the lowest version that pyproject.toml allows and that has a wheel for the interpreter,
`newest` those of constraints.txt. Each session writes build/versions/NAME.json. An interpreter that is not
installed is skipped by nox, which says so.
"""

from __future__ import annotations

from typing import Any

import nox

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("export", "openvino", "coreml", "report", "sign")
TOOLS = ("pytest>=8", "hypothesis>=6.100", "expecttest>=0.3", "psutil>=6", "pyyaml>=6", "setuptools>=77")

nox.options.sessions = ["oldest", "newest"]
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"


def _check(session: Any, *arguments: str) -> None:
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    session.install("-r", "pyproject.toml", *extras, "--only-binary", ":all:", *arguments)
    session.install(*TOOLS, "-c", "constraints.txt")
    session.install("--no-deps", ".")
    command = ("python", "tests/reliability/versions.py", "run", session.name, *session.posargs)
    session.run(*command, env={"OMP_NUM_THREADS": "1"})


@nox.session(python=list(PYTHONS), name="oldest")
def oldest_versions(session: Any) -> None:
    """Run the tests of versions.py with the oldest versions."""
    _check(session, "--resolution", "lowest-direct")


@nox.session(python=list(PYTHONS), name="newest")
def newest_versions(session: Any) -> None:
    """Run the same tests with the versions of constraints.txt."""
    _check(session, "-c", "constraints.txt")


@nox.session(name="stubs")
def tensorrt_stubs(session: Any) -> None:
    """Check every call of TensorRT against NVIDIA's Python API as type stubs."""
    session.install("pytest>=8", "mypy>=1.15", "numpy", "setuptools>=77", "hypothesis>=6.100")
    session.install("--no-deps", ".")
    folder = session.create_tmp()
    session.install("--no-deps", "--target", folder, "tensorrt-stubs==10.13.0.35.1")
    file = "tests/runtime/tensorrt/test_stubs.py"
    session.run("pytest", file, env={"FDIKP_EDGE_TENSORRT_STUBS": folder})
