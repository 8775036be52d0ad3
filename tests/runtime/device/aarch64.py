"""A bundle on aarch64: Debian's Python and NumPy for arm64 and ONNX Runtime's aarch64 wheel, under qemu.

    python tests/runtime/device/aarch64.py FOLDER [--bundle model.bundle] [--command verify --command bench]

FOLDER keeps what is downloaded (about 150 MB unpacked), so that the next run starts at once. Nothing is
installed: apt downloads the packages for arm64 with a configuration of its own, and they are unpacked into
FOLDER. That needs Debian with apt and dpkg-deb, and pip. qemu-aarch64 is taken from PATH, or downloaded too.

qemu emulates the processor, so the times say nothing of a board. The code of NumPy and ONNX Runtime is what a
board runs: other kernels (NEON), another order of additions.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
QEMU = ("qemu-aarch64-static", "qemu-aarch64")
PACKAGES = ("python3", "python3-numpy", "libstdc++6")
LIBRARIES = "/usr/lib/aarch64-linux-gnu"
PROCESSOR = "cortex-a76"
"""What qemu emulates, as CPUINFO describes it: ARMv8.2, as the Cortex-A78AE of an Orin."""
CPUINFO = """\
processor\t: {0}
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
"""One processor in the form of /proc/cpuinfo. Before 8.1 qemu shows the host's, and ONNX Runtime, which finds
no ARM processor in it, ends with a segmentation fault when it is imported."""
TEGRASTATS = "GR3D_FREQ 99%@1300 tj@60C VDD_IN 9000mW/9000mW\n"
SHORT = ("--queries", "5", "--seconds", "0.1", "--idle", "0", "--soak", "0", "--no-layers")
COMMANDS: dict[str, tuple[str, ...]] = {
    "info": ("--json",),
    "verify": ("--json",),
    "bench": ("--runs", "5", "--seconds", "300", "--json"),
    "deblur": ("--out", "sharp.png", "--json"),
    "profile": ("--replay", "tegrastats.log", "--out", "profile.json", "--json", *SHORT),
}
"""What is run, each with one thread."""


class UnavailableError(Exception):
    """No arm64 userland can be had on this machine; the message says why."""


@dataclasses.dataclass(frozen=True)
class Userland:
    """An unpacked arm64 userland and what runs it."""

    qemu: Path
    root: Path
    """Debian's files."""
    site: Path
    """Packages for its Python beside Debian's: ONNX Runtime."""

    def python(self, *words: object, cwd: Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Run its Python; ``HOME`` and the cache of bundles are in ``cwd``."""
        guest = {
            # BLAS and LAPACK lie where Debian's alternatives would link to; nothing was installed.
            "LD_LIBRARY_PATH": f"{LIBRARIES}/blas:{LIBRARIES}/lapack",
            "PYTHONPATH": str(self.site),
            "HOME": str(cwd),
            "FDIKP_EDGE_CACHE": str(cwd / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        variables = [part for name, value in guest.items() for part in ("-E", f"{name}={value}")]
        command = [
            self.qemu,
            "-cpu",
            PROCESSOR,
            "-L",
            self.root,
            *variables,
            self.root / "usr/bin/python3",
            *words,
        ]
        return subprocess.run(
            list(map(str, command)),
            cwd=cwd,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def prepare(folder: Path) -> Userland:
    """Return the userland in ``folder``, downloaded and unpacked if it is not there.

    Raises:
        UnavailableError: a tool is missing, or the packages cannot be downloaded.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"{tool} is not here: the arm64 packages are Debian's")
    userland = Userland(_qemu(folder), folder / "root", folder / "site")
    if not (userland.root / "usr/bin/python3").exists():
        _unpack(_debian(folder), userland.root)
    # qemu looks a path up below the root first.
    (userland.root / "proc").mkdir(exist_ok=True)
    processors = "".join(CPUINFO.format(number) for number in range(os.cpu_count() or 1))
    (userland.root / "proc/cpuinfo").write_text(processors)
    if not (userland.site / "onnxruntime").is_dir():
        _onnxruntime(folder, userland)
    return userland


def _qemu(folder: Path) -> Path:
    for name in QEMU:
        if path := shutil.which(name):
            return Path(path)
    unpacked = folder / "qemu"
    if not (unpacked / "usr/bin" / QEMU[0]).exists():
        with tempfile.TemporaryDirectory(dir=folder) as downloads:
            _call("apt-get", "download", "qemu-user-static", cwd=Path(downloads))
            _unpack(sorted(Path(downloads).glob("*.deb")), unpacked)
    return unpacked / "usr/bin" / QEMU[0]


def _debian(folder: Path) -> list[Path]:
    """Download the packages for arm64 and what they depend on, with an apt of their own."""
    apt = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "apt.conf").write_text(
        'APT::Architecture "arm64";\nAPT::Architectures { "arm64"; };\nAPT::Sandbox::User "";\n'
        f'Dir::State "{apt}";\nDir::State::lists "{apt}/lists";\nDir::State::status "{apt}/status";\n'
        f'Dir::Cache "{apt}/cache";\n'
    )
    env = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    _call("apt-get", "update", env=env)
    words = ("install", "--yes", "--no-install-recommends", "--download-only")
    _call("apt-get", *words, *PACKAGES, env=env)
    return sorted((apt / "cache/archives").glob("*.deb"))


def _unpack(packages: list[Path], root: Path) -> None:
    root.mkdir(exist_ok=True)
    for package in packages:
        _call("dpkg-deb", "-x", package, root)


def _onnxruntime(folder: Path, userland: Userland) -> None:
    """Unpack the wheel for the userland's Python, in the version that constraints.txt pins."""
    version = (userland.root / "usr/bin/python3").readlink().name.removeprefix("python")
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^onnxruntime==([\d.]+)", text, re.MULTILINE)[0]
    platforms = [word for tag in ("2_27", "2_28") for word in ("--platform", f"manylinux_{tag}_aarch64")]
    words = ("-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", version)
    with tempfile.TemporaryDirectory(dir=folder) as wheels:
        _call(sys.executable, *words, *platforms, "-d", wheels, f"onnxruntime=={pinned}")
        with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel:
            wheel.extractall(userland.site)


def _call(*words: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=env, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise UnavailableError(f"{words[0]} {words[1]}: {' '.join(lines)}")


def run_bundle(
    userland: Userland, bundle: Path, cwd: Path, commands: tuple[str, ...] = tuple(COMMANDS)
) -> dict[str, Any]:
    """Run commands of a bundle and return what each answered.

    Raises:
        CalledProcessError: one exits with another code than 0; what it printed is in the error.
    """
    (cwd / "tegrastats.log").write_text(TEGRASTATS * 3)
    answers = {}
    for name in commands:
        threads = () if name == "info" else ("--threads", "1")
        done = userland.python(bundle, name, *threads, *COMMANDS[name], cwd=cwd)
        done.check_returncode()
        answers[name] = json.loads(done.stdout)
    return answers


def main() -> int:
    """Prepare the userland, run the commands, print what they answered."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument(
        "--bundle", type=Path, help="a bundle of your own (default: one that halves its input)"
    )
    words.add_argument("--command", action="append", choices=list(COMMANDS), help="only this; repeatable")
    options = words.parse_args()
    try:
        userland = prepare(options.folder)
    except UnavailableError as error:
        print(f"unverified: no arm64 userland here: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        bundle = options.bundle.absolute() if options.bundle else _small_bundle(cwd)
        script = (
            "import platform as p, numpy as n, onnxruntime as o;"
            "print(p.machine(), 'Python', p.python_version());"
            "print('NumPy', n.__version__, 'ONNX Runtime', o.__version__)"
        )
        print(userland.python("-c", script, cwd=cwd).stdout.strip())
        try:
            answers = run_bundle(userland, bundle, cwd, tuple(options.command or COMMANDS))
        except subprocess.CalledProcessError as error:
            print(error, error.stdout, error.stderr, sep="\n", file=sys.stderr)
            return 1
    for name, answer in answers.items():
        for line in _summary(name, answer):
            print(f"{name}: {line}")
    return 0


def _summary(name: str, answer: dict[str, Any]) -> list[str]:
    if name == "deblur":
        return [f"{answer['out']} from {answer['artifact']}, {answer['runs_on']}"]
    lines = []
    for row in answer["artifacts"]:
        text = row.get("path") or row.get("name")
        if "state" in row:
            text += f", {row['state']}, max abs {row['parity']['max_abs']:.2e}"
        if row.get("latency_ms"):
            text += f", p50 {row['latency_ms']['p50']} ms (emulated), {row['latency_ms']['n']} runs"
        if "profile" in row:
            text += f", power {row['profile']['power']['total']['mean_mw']} mW (recorded)"
        lines.append(text)
    return lines


def _small_bundle(folder: Path) -> Path:
    sys.path[:0] = [str(ROOT / "tests")]
    import small_bundle
    from fdikp_edge.export.device.bundle import make_bundle

    artifacts = [small_bundle.make(folder / "artifacts", precision) for precision in ("fp32", "int8")]
    return make_bundle(artifacts, folder / "half.bundle", device="jetson").path


if __name__ == "__main__":
    sys.exit(main())
