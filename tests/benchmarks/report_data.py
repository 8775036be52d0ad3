"""What the tests of the report share: a report with one row of each kind, and a reader of pages."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "img", "input", "br"}
HOSTILE = "</script></style><script>alert(1)</script><img src=x onerror=alert(1)>'\"&\u202e\x00\ud800"


class Page(HTMLParser):
    """Reads a page, refuses tags that do not match, and keeps elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.inline: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.inline[self.open[-1]] = self.inline.get(self.open[-1], "") + data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report() -> dict[str, Any]:
    """A report with one row of each kind."""
    site = {
        "site": "fft_rfft2",
        "module": "model.dikp",
        "operator": "aten.fft_rfft2.default",
        "lengths": [8, 8],
        "input_shape": [1, 96, 8, 8],
        "strategy": "flat",
        "predicted_us": {"flat": 59.3, "separable": 140.8},
    }
    full = {
        "target": "onnx",
        "precision": "fp32",
        "size": [256, 192],
        "path": "onnx-fp32",
        "state": "verified",
        "reason": "",
        "parity": {
            "max_abs": 1.875e-6,
            "mean_abs": 1.2e-7,
            "psnr_db": 138.25,
            "ssim": 0.99999999,
            "within_budget": True,
            "bands": [
                {"low": 0.0, "high": 0.5, "rel_error_db": -130.0},
                {"low": 0.5, "high": 1.0, "rel_error_db": -98.0},
            ],
            "worst_photo": "chelsea.png",
            "budget": {"max_abs": 2e-5, "min_psnr_db": 100.0},
            "photos": [
                {"photo": "chelsea.png", "max_abs": 1.875e-6, "psnr_db": 138.25},
                {"photo": "cup.png", "max_abs": 1.5e-6, "psnr_db": 141.0},
            ],
        },
        "latency_ms": {
            "p50": 12.5,
            "p90": 13.25,
            "p99": 19.0,
            "min": 12.0,
            "n": 100,
            "eager_p50": 50.0,
            "samples": [12.0] * 50 + [13.0] * 49 + [19.0],
            "drift": 1.04,
            "max": 19.0,
            "complete": True,
        },
        "plan": [site, {**site, "site": "fft_rfft2_1"}],
        "files": {
            "model.onnx": {"sha256": "ab" * 32, "bytes": 2_000_000},
            "golden_input.npy": {"sha256": "cd" * 32, "bytes": 786_560},
        },
        "reproduce": ["fdikp-edge", "deploy", "--model", "tiny", "--target", "onnx", "--photo", "my cup.jpg"],
        "session": {"runtime": "ONNX Runtime", "threads": 2, "arithmetic": "float32"},
        "precision_census": {"float": 30, "float16": 10, "int8 layers": 7},
        "weights_sha256": "12" * 32,
        "program_sha256": "34" * 32,
        "notes": ["weights: trained", "fp32: everything is float32", "kept: one layer, for a reason"],
        "mixture": {
            "summary": "one layer back in floats",
            "chosen": 1,
            "points": [
                {"saved_ms": 9.0, "drop_db": 0.2, "in_floats": 0},
                {"saved_ms": 7.0, "drop_db": 0.1, "in_floats": 1},
            ],
            "ranking": [{"module": "model.dikp", "node": "conv2d", "psnr_db": 51.0, "saved_ms": 2.0}],
        },
        "error_map": {
            "photo": "chelsea.png",
            "size": [256, 192],
            "max": 1.9e-6,
            "p50": 2e-8,
            "p99": 1e-6,
            "over_half_step": 0.0,
        },
    }
    missing = {
        "target": "tensorrt",
        "precision": "fp16",
        "size": [256, 192],
        "path": None,
        "state": "unavailable",
        "reason": "tensorrt is not installed",
        "parity": None,
        "latency_ms": None,
    }
    failed = {**missing, "target": "openvino", "state": "failed", "parity": {"within_budget": False}}
    return {
        "version": "0.1.0",
        "model": "tiny",
        "machine": {"cpu": "A CPU", "threads": 2, "versions": {"torch": "2.13.0"}},
        "artifacts": [full, missing, failed],
    }


def hostile(value: Any) -> Any:
    """The same report with every string, keys of free tables included, replaced by an attack."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()} | {HOSTILE: HOSTILE}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def joined(*names: str) -> dict[str, Any]:
    """The report as `report merge` joins it with itself, once for each device."""
    one = report()
    devices = {name: {**one["machine"], "cpu": f"CPU of {name}"} for name in names}
    entries = [{**entry, "device": name, "path": None} for entry in one["artifacts"] for name in names]
    return {**one, "artifacts": entries, "machine": {"device": "; ".join(names), "devices": devices}}
