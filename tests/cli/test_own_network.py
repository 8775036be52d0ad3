"""A network of the user's own through every command: two inputs, two results, samples of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact

pytest.importorskip("torch")

Cli = Callable[..., "CompletedProcess[str]"]

NET = '''
import numpy as np
import torch
from torch import nn
from fdikp_edge.models.sources import NetworkSource, Sample, TensorSpec


class Restorer(nn.Module):
    """Takes a picture and a map of its noise; returns the picture and the energy of its spectrum."""

    def __init__(self, width=8):
        super().__init__()
        torch.manual_seed(0)
        self.into = nn.Conv2d(4, width, 3, padding=1)
        self.out = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, picture, sigma):
        hidden = torch.relu(self.into(torch.cat([picture, sigma], 1)))
        spectrum = torch.fft.rfft2(hidden, norm="ortho")
        hidden = torch.fft.irfft2(spectrum * 0.5, s=hidden.shape[-2:], norm="ortho")
        return {"clean": picture + 0.1 * self.out(hidden), "energy": spectrum.abs().mean((2, 3))}


def samples(specs):
    rng = np.random.default_rng(0)
    shapes = {spec.name: spec.shape for spec in specs}
    return [
        Sample(f"draw {n}", {name: rng.random(shape).astype("float32") for name, shape in shapes.items()})
        for n in range(3)
    ]


def restorer(width=8):
    return NetworkSource(
        name="restorer",
        spec="net.py:restorer",
        load=lambda: Restorer(width).eval(),
        inputs=(
            TensorSpec("picture", (1, 3, None, None), layout="NCHW", color="RGB"),
            TensorSpec("sigma", (1, 1, None, None), layout="NCHW"),
        ),
        samples=samples,
    )
'''
SHORT = ("--threads", 1)


@pytest.fixture
def run_cli(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli`, in a folder of the test's choice."""

    def run(*args: object, cwd: Path) -> CompletedProcess[str]:
        monkeypatch.chdir(cwd)
        return cli(*args)

    return run


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.py and what deploy made of it in ``out``."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    words = ["--model", "net.py:restorer", "--size", "32x48", "--target", "onnx", "--threads", "1"]
    words += ["--precision", "fp32", "--precision", "int8", "--runs", "3", "--seconds", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "fdikp_edge.cli", "deploy", *words, "--out", "out"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (folder / "deploy.json").write_text(done.stdout)
    return folder


ARTIFACT = "out/restorer-onnx-fp32-32x48"


def test_deploy_verifies_every_result(deployed: Path) -> None:
    report = json.loads((deployed / "deploy.json").read_text())
    assert [row["state"] for row in report["artifacts"]] == ["verified", "verified"]
    for row in report["artifacts"]:
        assert set(row["parity"]["outputs"]) == {"clean", "energy"}
        measures = {name: entry["measure"] for name, entry in row["parity"]["outputs"].items()}
        assert measures == {"clean": "image", "energy": "tensor"}
        assert row["picture"] is None, "no photo goes through a network of two inputs"
    passport = Artifact.open(deployed / ARTIFACT).passport
    assert [end.name for end in passport.inputs] == ["picture", "sigma"]
    assert [(end.name, end.shape) for end in passport.outputs] == [
        ("clean", (1, 3, 32, 48)),
        ("energy", (1, 8)),
    ]
    assert passport.source == "net.py:restorer"
    assert (deployed / "out/report.html").read_text().count("restorer")


def answer(done: CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_verify_and_bench_take_the_network_again(deployed: Path, run_cli: Cli) -> None:
    again = ("--model", "net.py:restorer")
    (row,) = answer(run_cli("verify", ARTIFACT, *again, *SHORT, "--json", cwd=deployed))["artifacts"]
    assert (row["state"], row["against"]) == ("verified", "eager")
    assert {photo["photo"] for photo in row["parity"]["photos"]} == {"draw 0", "draw 1", "draw 2"}
    (timed,) = answer(
        run_cli("bench", ARTIFACT, *again, *SHORT, "--runs", 3, "--eager", "--json", cwd=deployed)
    )["artifacts"]
    assert timed["latency_ms"]["eager_p50"] > 0
    unnamed = run_cli("verify", ARTIFACT, *SHORT, cwd=deployed)
    assert unnamed.returncode == 2 and "net.py:restorer" in unnamed.stderr and "--model" in unnamed.stderr
    assert "tiny" not in unnamed.stderr, "variants of another network"
    other = run_cli("verify", ARTIFACT, *again, "--model-arg", "width=4", *SHORT, cwd=deployed)
    assert other.returncode == 2 and "has other weights than net.py:restorer" in other.stderr
    assert "--weights" in other.stderr


def test_a_passport_that_names_code_never_imports_it(deployed: Path, run_cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(deployed / ARTIFACT, tmp_path / "artifact")
    (tmp_path / "net.py").write_text("raise SystemExit('imported')\n")
    for command in (["verify", "artifact", "--golden"], ["inspect", "artifact"], ["verify", "artifact"]):
        done = run_cli(*command, cwd=tmp_path)
        assert "imported" not in done.stdout + done.stderr
        assert done.returncode == (2 if command == ["verify", "artifact"] else 0), done.stderr


def test_run_takes_arrays(deployed: Path, run_cli: Cli, tmp_path: Path) -> None:
    inputs, outputs = Artifact.open(deployed / ARTIFACT).golden()
    np.savez(tmp_path / "one.npz", **inputs)
    done = run_cli(
        "run", tmp_path / "one.npz", "-a", ARTIFACT, "-o", tmp_path / "r.npz", "--json", cwd=deployed
    )
    assert answer(done)["arrays"][0]["shapes"] == {"clean": [1, 3, 32, 48], "energy": [1, 8]}
    with np.load(tmp_path / "r.npz", allow_pickle=False) as results:
        for name, expected in outputs.items():
            np.testing.assert_allclose(results[name], expected, atol=1e-5)
    again = run_cli("run", tmp_path / "one.npz", "-a", ARTIFACT, "-o", tmp_path / "r.npz", cwd=deployed)
    assert again.returncode == 2 and "--overwrite" in again.stderr
    for option in (["--suffix", ".png"], ["--halo", 8], ["--quality", 95], ["--max-megapixels", 3]):
        options = ["-a", ARTIFACT, "-o", tmp_path / "x", *option]
        refused = run_cli("run", tmp_path / "one.npz", *options, cwd=deployed)
        assert refused.returncode == 2 and f"{option[0]}: for photos only" in refused.stderr
    np.savez(tmp_path / "less.npz", picture=inputs["picture"])
    less = run_cli("run", tmp_path / "less.npz", "-a", ARTIFACT, "-o", tmp_path / "x", cwd=deployed)
    assert less.returncode == 2 and "sigma" in less.stderr and not (tmp_path / "x").exists()


def test_run_takes_a_folder_of_arrays(deployed: Path, run_cli: Cli, tmp_path: Path) -> None:
    inputs, _ = Artifact.open(deployed / ARTIFACT).golden()
    folder, out = tmp_path / "arrays", tmp_path / "o"
    (folder / "deeper").mkdir(parents=True)
    (folder / "notes.txt").write_text("not an array")
    none = run_cli("run", folder, "-a", ARTIFACT, "-o", out, cwd=deployed)
    assert none.returncode == 2 and "no .npz or .npy files" in none.stderr and "sigma" in none.stderr
    for name in ("a.npz", "b.npz", "deeper/c.npz"):
        np.savez(folder / name, **inputs)
    done = answer(run_cli("run", folder, "-a", ARTIFACT, "-o", out, "--json", cwd=deployed))
    assert [Path(row["output"]).name for row in done["arrays"]] == ["a.npz", "b.npz"]
    assert sorted(path.name for path in out.iterdir()) == ["a.npz", "b.npz"]
    every = run_cli("run", folder, "-r", "-a", ARTIFACT, "-o", tmp_path / "all", "--json", cwd=deployed)
    assert len(answer(every)["arrays"]) == 3


def test_results_of_arrays_are_not_called_a_picture(deployed: Path, run_cli: Cli, tmp_path: Path) -> None:
    inputs, _ = Artifact.open(deployed / ARTIFACT).golden()
    for name in ("one.npz", "two.npz"):
        np.savez(tmp_path / name, **inputs)
    for words in (("one.npz", "-o", "o/res.png"), ("one.npz", "two.npz", "-o", "o/res.npz")):
        files = [tmp_path / word if word.endswith(("npz", "png")) else word for word in words]
        done = run_cli("run", *files, "-a", ARTIFACT, cwd=deployed)
        assert done.returncode == 2 and "--out" in done.stderr and not (tmp_path / "o").exists()


def test_photos_are_refused_in_words(deployed: Path, run_cli: Cli) -> None:
    from fdikp_edge.runtime.samples import sample_photo

    photo = sample_photo()
    for command in (
        ("run", photo, "-a", ARTIFACT, "-o", "x.png"),
        ("verify", ARTIFACT, "--model", "net.py:restorer", "--photo", photo),
        ("deploy", "--model", "net.py:restorer", "--photo", photo, "--out", "y"),
    ):
        done = run_cli(*command, cwd=deployed)
        assert done.returncode == 2 and "photo" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_calibrate_gate_profile_bundle_and_inspect(deployed: Path, run_cli: Cli) -> None:
    table = answer(
        run_cli(
            *("calibrate", "--model", "net.py:restorer", "--size", "32x48", "--target", "onnx"),
            *("--out", "table.json", "--json"),
            cwd=deployed,
        )
    )
    assert table["samples"]["tiles"] == 3 and not table["warnings"]
    gate = ("gate", "out", "--baseline", "baseline.json", "--no-latency")
    assert run_cli(*gate, "--update", "--reason", "first", cwd=deployed).returncode == 0
    verdict = run_cli(*gate, cwd=deployed)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
    profiled = run_cli(
        *("profile", ARTIFACT, "--queries", 5, "--seconds", 0.2, "--soak", 0, "--json", *SHORT), cwd=deployed
    )
    assert profiled.returncode == 0, profiled.stderr
    bundled = run_cli("bundle", ARTIFACT, "--out", "own.bundle", "--json", cwd=deployed)
    assert bundled.returncode == 0, bundled.stderr
    shown = run_cli("inspect", ARTIFACT, cwd=deployed)
    assert shown.returncode == 0 and "sigma" in shown.stdout and "energy" in shown.stdout


def test_bisect_follows_the_worst_of_several_results(deployed: Path, run_cli: Cli) -> None:
    search = ("bisect", ARTIFACT, "--model", "net.py:restorer", "--json")
    sound = run_cli(*search, cwd=deployed)
    assert sound.returncode == 0, sound.stderr
    result = json.loads(sound.stdout)
    assert sound.returncode == 0 and result["departure"] is None, sound.stderr
    assert result["result"] in ("restored", "energy")
    network = ("--model", "net.py:restorer", "--size", "32x48", "--target", "onnx", "--precision", "fp16")
    assert run_cli("export", *network, "--out", "half", cwd=deployed).returncode == 0
    rounded = (search[0], "half/restorer-onnx-fp16-32x48", *search[2:])
    strict = run_cli(*rounded, "--max-abs", "1e-5", cwd=deployed)
    assert strict.returncode == 1 and json.loads(strict.stdout)["departure"]["nodes"], strict.stderr
    photo = run_cli(*search, "--photo", "photo.png", cwd=deployed)
    assert photo.returncode == 2 and "photo" in photo.stderr and "Traceback" not in photo.stderr


def test_int8_without_samples_is_refused(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET.replace("        samples=samples,\n", ""))
    done = run_cli(
        *("deploy", "--model", "net.py:restorer", "--size", "32x32", "--target", "onnx", *SHORT),
        *("--precision", "fp32", "--precision", "int8", "--runs", 3, "--seconds", 1, "--out", "o", "--json"),
        cwd=tmp_path,
    )
    rows = {row["precision"]: row for row in json.loads(done.stdout)["artifacts"]}
    assert done.returncode == 1
    assert rows["fp32"]["state"] == "verified" and "noise" in rows["fp32"]["reason"]
    assert "--samples" in rows["int8"]["reason"]


def test_what_input_declared_need_not_be_repeated(run_cli: Cli, tmp_path: Path) -> None:
    text = "import torch\nclass Net(torch.nn.Module):\n    def forward(self, field, gain):\n"
    (tmp_path / "plain.py").write_text(
        text + "        return torch.fft.ifft(torch.fft.fft(field)).real * gain\n"
    )
    inputs = ("--input", "field=2x16:-3..3", "--input", "gain=1")
    network = ("--model", "plain.py:Net")
    done = run_cli("export", *network, *inputs, "--target", "onnx", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (artifact,) = (tmp_path / "out").iterdir()
    done = run_cli("verify", artifact, *network, *SHORT, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert answer(done)["artifacts"][0]["state"] == "verified"
    wrong = run_cli("verify", artifact, *network, "--input", "field=2x8", "--input", "gain=1", cwd=tmp_path)
    assert wrong.returncode == 2 and "takes field" in wrong.stderr


def test_a_single_number_as_a_result_is_refused_in_words(run_cli: Cli, tmp_path: Path) -> None:
    text = "import torch\nclass Net(torch.nn.Module):\n    def forward(self, field):\n"
    (tmp_path / "single.py").write_text(text + "        return {'spectrum': field * 2, 'sum': field.sum()}\n")
    network = ("--model", "single.py:Net", "--input", "field=2x16")
    done = run_cli("export", *network, "--target", "onnx", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "result 'sum' is a single number" in done.stderr and not list(tmp_path.glob("out/*"))


FIELD = """
import numpy as np
import torch
from torch import nn
from fdikp_edge.models.sources import NetworkSource, Sample, TensorSpec


class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(2, 8, 3, padding=1)
        self.last = nn.Conv1d(8, 2, 3, padding=1)

    def forward(self, wave):
        hidden = torch.relu(self.first(wave))
        return wave + self.last(torch.fft.irfft(torch.fft.rfft(hidden) * 0.5, n=32))


def samples(specs):
    rng = np.random.default_rng(0)
    return [Sample(f"draw {n}", {"wave": rng.random((1, 2, 32)).astype("float32")}) for n in range(3)]


source = NetworkSource(
    name="waves",
    spec="waves.py",
    load=lambda: Waves().eval(),
    inputs=(TensorSpec("wave", (1, 2, 32)),),
    samples=samples,
)
"""


def test_a_network_on_tensors_is_told_in_words_for_tensors(run_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "waves.py").write_text(FIELD)
    network = ("--model", "waves.py:source")
    done = run_cli(
        *("deploy", *network, "--target", "onnx", "--precision", "fp32", "--precision", "fp16"),
        *("--runs", 3, "--out", "o", *SHORT),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "o/report.html").read_text()
    assert "SNR" in page and "Sample by sample" in page and "relative to the largest magnitude" in page
    for text in (done.stdout + done.stderr, page.partition("<body>")[2].partition("<script>")[0]):
        for word in ("PSNR", "SSIM", "photo", "eblur", "0 to 1 scale", "pixel"):
            assert word not in text, text[max(0, text.find(word) - 80) :][:160]
    (artifact,) = (tmp_path / "o").glob("*fp16*")
    checked = run_cli("verify", artifact, *network, *SHORT, cwd=tmp_path)
    assert checked.returncode == 0 and "SNR" in checked.stdout and "PSNR" not in checked.stdout
    search = ("bisect", artifact, *network, *SHORT, "--json")
    assert answer(run_cli(*search, cwd=tmp_path))["departure"] is None
    strict = run_cli(*search, "--max-abs", 1e-7, cwd=tmp_path)
    assert strict.returncode == 1, strict.stderr
    assert json.loads(strict.stdout)["departure"]["module"] in ("model.first", "model.last", "model")
