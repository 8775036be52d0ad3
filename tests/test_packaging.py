"""What is installed is what is in the tree: packages, data files, extras, pins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "package"
"""The folder that is installed as `fdikp_edge` itself; every other room is a subpackage of its own name."""
ROOMS = (PACKAGE, "runtime", "models", "calibration", "export", "benchmarks", "cli")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def data_files() -> list[Path]:
    """Return the files of the rooms that are not Python and not made by running it."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    return [path for path in files if path.suffix not in (".py", ".pyc") and path.name[0] != "."]


def installed_as(path: Path) -> str:
    """Return where a file or folder of the tree lies in an installation: ``fdikp_edge/...``."""
    parts = path.relative_to(ROOT).parts
    return "/".join(("fdikp_edge", *(parts[1:] if parts[0] == PACKAGE else parts)))


def test_packages_list_is_the_tree() -> None:
    tree = {
        installed_as(path.parent).replace("/", ".")
        for room in ROOMS
        for path in (ROOT / room).rglob("__init__.py")
    }
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(tree)


def test_every_folder_with_code_is_a_package() -> None:
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.parent} has no __init__.py"


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_is_typed(room: str) -> None:
    assert (ROOT / room / "py.typed").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy, so that no build/ folder appears in the checkout; needs no network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for room in (*ROOMS, "tests"):
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "-w", str(folder), str(source)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_every_room_with_its_data_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licence = [name for name in names if name.endswith("licenses/LICENSE")]
        assert licence and archive.read(licence[0]) == (ROOT / "LICENSE").read_bytes()
        entry = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"fdikp-edge = fdikp_edge.cli.start:run" in archive.read(entry)
    expected = {installed_as(path) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    expected |= {installed_as(path) for path in data_files()}
    assert expected - names == set()
    code = {name for name in names if ".dist-info/" not in name}
    assert code - expected == set()


def test_wheel_works_when_installed_alone(wheel: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(tmp_path),
    ]
    subprocess.run([*command, str(wheel)], check=True, timeout=300)
    # -P and a path of its own: neither the checkout nor an editable installation is what answers.
    script = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()];"
        f"sys.path.insert(0, {str(tmp_path)!r});"
        "import fdikp_edge.cli.main, fdikp_edge.runtime.samples as s;"
        "print(fdikp_edge.cli.main.__file__, s.sample_photo().exists())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "fdikp_edge/cli/main.py"), "True"]
    script = "import fdikp_edge as f, runpy; print(f.__file__); runpy.run_module('fdikp_edge')"
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    version = PROJECT["project"]["version"]
    assert done.stdout == f"{tmp_path / 'fdikp_edge/__init__.py'}\nfdikp-edge {version}\n", done.stderr


def test_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text and "Version 2.0, January 2004" in text
    assert all(re.search(rf"^ +{n}\. [A-Z]", text, re.M) for n in range(1, 10)), "a section is missing"
    assert "END OF TERMS AND CONDITIONS" in text and len(text) > 11_000


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].lower().replace("_", "-") for line in requirements}


def test_a_device_installs_little() -> None:
    assert names_of(PROJECT["project"]["dependencies"]) == {
        *("numpy", "onnxruntime", "pillow", "typer", "rich"),
        "tomli",  # where Python has no TOML reader of its own
    }


def test_all_holds_every_extra_but_dev() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    listed = set(re.fullmatch(r"fdikp-edge\[(.*)\]", everything)[1].split(","))  # type: ignore[index]
    # spandrel needs the torchvision that was built for the torch at hand, which no requirement can express.
    assert listed == set(extras) - {
        *("all", "dev", "executorch", "lab", "loadgen", "ray", "spandrel", "video")
    }


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_constraints_are_full_pins_without_places() -> None:
    for line in pins():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.+]*( ; python_version [<>]=? \"3\.\d+\")?", line), line


def test_every_requirement_is_pinned_for_every_python() -> None:
    wanted = names_of(PROJECT["project"]["dependencies"])
    for lines in PROJECT["project"]["optional-dependencies"].values():
        wanted |= names_of(lines)
    markers: dict[str, set[str]] = {}
    for line in pins():
        name, _, marker = line.partition(" ; ")
        markers.setdefault(name.split("==")[0], set()).add(marker)
    both = {'python_version >= "3.11"', 'python_version < "3.11"'}
    for name in wanted - {"fdikp-edge"}:
        old_only = {'python_version < "3.11"'} if name == "tomli" else both  # a requirement of old ones alone
        assert markers.get(name) in ({""}, old_only), (
            f"{name} is not pinned for every Python: {markers.get(name)}"
        )
