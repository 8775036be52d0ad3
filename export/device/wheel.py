"""The part of this package that a device needs, as a wheel that needs NumPy alone."""

from __future__ import annotations

import ast
import base64
import hashlib
import importlib.metadata
import importlib.util
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import fdikp_edge

from ...runtime.device import entry

PROGRAM = "fdikp_edge.cli.device.program"
"""What runs on the device; the wheel holds the runtime room and what this imports from others."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_LEVEL = 6
_SITE = Path(__file__).parents[2]
"""The folder that holds the rooms: of a checkout, or of an installation."""


def device_wheel() -> tuple[str, bytes]:
    """Return the name and bytes of a wheel with the runtime room and the device program.

    It needs NumPy alone. Installed it is ``fdikp-edge`` with ``+device`` in its version, so that the whole
    package replaces it properly.
    """
    version = f"{importlib.metadata.version('fdikp-edge').partition('+')[0]}+device"
    info = f"fdikp_edge-{version}.dist-info"
    # A folder without __init__.py would lose against an installed fdikp_edge, wherever it stands in sys.path.
    content = {"fdikp_edge/__init__.py": Path(str(fdikp_edge.__file__)).read_bytes()}
    content |= {f"fdikp_edge/{name}": (_SITE / name).read_bytes() for name in sorted(_device_files())}
    content[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: fdikp-edge\nVersion: {version}\nLicense: Apache-2.0\n"
        "Summary: What a device needs of fdikp-edge to open and measure artifacts.\n"
        "Requires-Python: >=3.10\nRequires-Dist: numpy\n"
    ).encode()
    content[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: fdikp-edge\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for name, data in content.items()
    ]
    content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in content.items():
            add_entry(archive, name, data)
    return f"fdikp_edge-{version}-py3-none-any.whl", packed.getvalue()


def _device_files() -> set[str]:
    """Return the wheel's files, relative to the rooms' folder: the runtime, and what the program imports."""
    runtime = _SITE / "runtime"
    files = {
        path.relative_to(_SITE).as_posix()
        for path in runtime.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    waiting = [PROGRAM]
    while waiting:
        module = waiting.pop()
        file = _file_of(module)
        if file is None or file in files:
            continue
        files.add(file)
        waiting += [module.rpartition(".")[0], *_imports(module, _SITE / file)]
    return files


def _file_of(module: str) -> str | None:
    """Return the file of one of our modules, ``None`` for ``fdikp_edge`` itself and for what is no module."""
    parts = module.split(".")[1:]
    for name in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
        if parts and (_SITE / name).is_file():
            return name
    return None


def _imports(module: str, file: Path) -> Iterator[str]:
    """Yield the modules that a file imports when it is imported itself; not those of its functions."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _outside_functions(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not checking and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node
            yield from _outside_functions(node)


def add_entry(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file to an archive so that the same files give the same bytes.

    What packs better than a reader of bundles believes stays as it is.
    """
    info = zipfile.ZipInfo(name, _EPOCH)
    info.external_attr = _MODE
    packs_too_well = len(data) > max(entry.FREE_BYTES, entry.MAX_RATIO * len(zlib.compress(data, _LEVEL)))
    info.compress_type = zipfile.ZIP_STORED if packs_too_well else zipfile.ZIP_DEFLATED
    archive.writestr(info, data, compresslevel=_LEVEL)
