"""What several folders of tests share: the README's main job, run once."""

from __future__ import annotations

import dataclasses
import gc
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Graphs are millions of small objects, and looking through all of them for garbage takes a sixth of the time.
gc.set_threshold(20_000, 10, 10)

#: With several workers a long file that begins last keeps one of them busy alone: these begin first.
_LONG = (
    "test_readme.py",
    "test_gate_page.py",
    "export/test_fdikp_programs.py",
    "export/spectral/test_networks.py",
    "export/test_outside_targets.py",
    "cli/test_calibrate.py",
    "export/coreml/test_build.py",
    "export/test_precision.py",
    "export/onnx/test_build.py",
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # small_bundle and spectral_net, which several folders use
import exporter_memory  # noqa: E402

_BIN = Path(sys.executable).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests by file, long files first."""
    place = {name: index for index, name in enumerate(_LONG)}
    items.sort(key=lambda item: place.get(item.path.relative_to(ROOT / "tests").as_posix(), len(_LONG)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Once they are loaded, exporters remember what does not change."""
    exporter_memory.remember()


FOLLOWED = ("gate.md", "your-network.md")


@dataclasses.dataclass(frozen=True)
class Readme:
    """The code blocks of README.md and docs/, and a folder in which to run them one after the other."""

    commands: Sequence[str]
    """Every line of the shell blocks, in order."""
    programs: Sequence[str]
    """Every Python block, in order."""
    folder: Path

    @property
    def main_job(self) -> str:
        """The first `deploy` of all."""
        return next(command for command in self.commands if command.startswith("fdikp-edge deploy"))

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one command as a reader would, with this environment's programs first."""
        search = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
        program, *args = shlex.split(command)
        if args[:1] in (["bench"], ["deploy"], ["verify"]):
            # PyTorch's threads spin while they wait for each other, which on a busy machine costs minutes.
            args += ["--threads", "1"]
        if args[:1] in (["bench"], ["deploy"]):
            args += ["--seconds", "2"]  # what is tested is that it works; figures are for a quiet machine
        if "profile" in args[:2]:
            args += ["--queries", "3", "--seconds", "0.1", "--idle", "0", "--soak", "0"]
        if args[:2] == ["model.bundle", "bench"]:
            args += ["--runs", "3", "--seconds", "1"]
        return subprocess.run(
            [shutil.which(program, path=search) or program, *args],
            cwd=self.folder,
            env={
                "OMP_NUM_THREADS": "1",
                **os.environ,
                "PATH": search,
                "FDIKP_EDGE_CACHE": str(self.folder / "bundle-cache"),
            },
            capture_output=True,
            text=True,
            timeout=1800,  # minutes on a machine that is busy with other things
        )


@pytest.fixture(scope="session")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Readme:
    """Read README.md and docs/, and lay out the photos its commands speak of.

    Not docs/gate.md and docs/your-network.md: tests of their own follow those as a whole.
    """
    from fdikp_edge.runtime.samples import sample_photo

    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in FOLLOWED]
    files = [ROOT / "README.md", *pages]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(sample_photo("coffee"), folder / "photo.jpg")
    (folder / "album").mkdir()
    shutil.copy(sample_photo("chelsea"), folder / "album")
    (folder / "my-photos").mkdir()
    for name in ("coffee", "chelsea"):
        shutil.copy(sample_photo(name), folder / "my-photos")
    # A second of an Orin Nano's: https://github.com/henrygd/beszel/issues/286
    line = "GR3D_FREQ 63%@[621] cpu@53.968C tj@53.968C VDD_IN 12479mW/12479mW VDD_SOC 2817mW/2817mW"
    (folder / "tegrastats.log").write_text(f"{line}\n" * 3, encoding="ascii")
    commands = [
        line for kind, body in blocks if kind == "shell" for line in body.splitlines() if line.strip()
    ]
    return Readme(commands, [body for kind, body in blocks if kind == "python"], folder)


@pytest.fixture(scope="session")
def deployed(readme: Readme) -> Path:
    """Run the README's `deploy` command once, and return the folder it wrote."""
    done = readme.shell(readme.main_job)
    assert done.returncode == 0, done.stdout + done.stderr
    return readme.folder / "build"


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for a Jetson of a network that halves its input, at float32 and at int8."""
    pytest.importorskip("torch", reason="packing a bundle needs torch")
    import small_bundle
    from fdikp_edge.export.device.bundle import make_bundle

    folder = tmp_path_factory.mktemp("bundle")
    artifacts = [small_bundle.make(folder, precision) for precision in ("fp32", "int8")]
    return make_bundle(artifacts, folder / "half.bundle").path
