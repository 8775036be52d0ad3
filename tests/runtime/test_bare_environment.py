"""The runtime room imports with numpy alone, as on a board where nothing else is installed."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib, importlib.abc, pkgutil, sys

ALLOWED = set(sys.stdlib_module_names) | {"numpy", "fdikp_edge"}

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        # The finders of an editable install are named after the project.
        if top not in ALLOWED and not top.startswith("__editable__"):
            raise ImportError(f"{name} is not installed on this device")

sys.meta_path.insert(0, Nothing())
import fdikp_edge.runtime
names = ["fdikp_edge.runtime"]
for module in pkgutil.walk_packages(fdikp_edge.runtime.__path__, "fdikp_edge.runtime."):
    importlib.import_module(module.name)
    names.append(module.name)
foreign = {name.partition(".")[0] for name in sys.modules} & {
    "torch", "onnx", "onnxruntime", "openvino", "PIL", "typer", "rich", "scipy", "pytest"
}
assert not foreign, foreign
print(len(names))
"""


def test_every_module_imports_with_numpy_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 25


def test_the_blocker_blocks() -> None:
    script = SCRIPT.replace("import fdikp_edge.runtime\n", "import PIL\n", 1)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert "is not installed on this device" in done.stderr
