"""A network with what int8 has to get right, and the files that `test_worker.py` starts from.

``python tests/export/litert/phone_net.py`` writes them again, where the converter's environment is: the
converted program with marks for biases, the worker's request, and what the program computes.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.layers import Layer
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.litert import worker
from fdikp_edge.export.litert.environment import LITERT
from fdikp_edge.export.litert.layers import Int8Layers
from fdikp_edge.export.lowered import LoweredModel, lower_model
from torch import Tensor, nn

DATA = Path(__file__).parent / "data"
SIZE = (16, 24)


class PhoneNet(nn.Module):
    """A depthwise convolution of stride 2, weights that are read at two sizes, an input with two readers, a
    residual, pixels that are moved between layers, a product, and a last layer that is scaled."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.head = nn.Conv2d(3, 8, 3, padding=1)
            self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
            self.point = nn.Conv2d(8, 8, 1, bias=False)
            self.down = nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8)
            self.shared = nn.Conv2d(8, 8, 3, padding=1)
            self.up = nn.Conv2d(8, 32, 1)
            self.fuse = nn.Conv2d(16, 8, 1)
            self.mix = nn.Linear(8, 8)
            self.tail = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        a = self.head(image)
        d = a + self.point(self.depth(nn.functional.leaky_relu(a, 0.1)))
        fine, coarse = self.shared(d), self.shared(self.down(d))
        moved = nn.functional.pixel_shuffle(self.up(coarse), 2)
        joined = torch.relu(self.fuse(torch.cat([fine, moved], 1)))
        mixed = self.mix(joined.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return image + 0.2 * self.tail(mixed)


def lowered_net() -> tuple[LoweredModel, CalibrationTable]:
    model = lower_model(PhoneNet().eval(), SIZE, name="phone-net", profile="litert")
    return model, calibrate(model, count=2, least_work=0)


def emulated(model: LoweredModel, table: CalibrationTable, layers: list[Layer], x: Any) -> Any:
    """Return what a program with some layers in 8 bits computes, by PyTorch."""
    section = table.section(model.lowered.key)
    scales = {name: table.scale(model.lowered.key, name) for name in section.tensors}
    return Int8Runner(model.lowered.program, layers, scales, rounded_results=True)(x)


def photo() -> Any:
    return np.random.default_rng(0).random((1, 3, *SIZE), dtype=np.float32)


_CONVERT = """
import sys; from pathlib import Path; import json
sys.path.append(sys.argv[1])
from worker.convert import convert
request = json.loads(Path("request.json").read_text())
Path("marked.tflite").write_bytes(convert(Path("program.pt2"), request, range(len(request["layers"]))))
"""


def main() -> None:
    model, table = lowered_net()
    layers = Int8Layers.of(model.lowered, table)
    request = {
        "layers": layers.rows,
        "wide": False,
        "half": False,
        "signature": "serving_default",
        "inputs": list(model.lowered.input_names),
        "outputs": list(model.lowered.output_names),
        "description": "for tests",
        "metadata": {"fdikp_edge": "{}"},
    }
    chosen = [one for one in table.section(model.lowered.key).quantised() if one.module != "model.tail"]
    x = photo()
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        torch.export.save(model.lowered.program, place / worker.PROGRAM)
        (place / worker.REQUEST).write_text(json.dumps(request))
        source = str(Path(worker.__file__).resolve().parents[1])
        subprocess.run([str(LITERT.python()), "-c", _CONVERT, source], cwd=place, check=True)
        (DATA / "marked.tflite").write_bytes((place / "marked.tflite").read_bytes())
    (DATA / "marked.json").write_text(json.dumps(request, indent=1) + "\n")
    (plain,) = model.reference({"image": x}).values()
    arrays = {str(place): bias for place, bias in enumerate(layers.biases)}
    np.savez(DATA / "marked.npz", x=x, plain=plain, emulated=emulated(model, table, chosen, x), **arrays)


if __name__ == "__main__":
    main()
