"""Write the ONNX file that TensorRT runs through the cuFFT plugin: ``python -m
fdikp_edge.export.tensorrt.plugin_file ARTIFACT --out FILE``.

TensorRT's parser prefers a function of the file to a plugin, and looks a plugin up by the node's attributes
``plugin_namespace`` (empty by default) and ``plugin_version`` (onnx-tensorrt, "Creating a plugin"). So this
file has no function bodies, and each node has both attributes. Only a TensorRT with the plugin runs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.artifact import Artifact
from ...runtime.errors import BadInputError
from ...runtime.files import check_place, replacing
from ...runtime.program import put, run
from ...runtime.tensorrt.engines import ONNX_FILE

if TYPE_CHECKING:
    import onnx

PLUGIN_VERSION = "1"
"""Of the creators in ``plugins/fft_plugin.cpp``."""


def for_plugin(model: onnx.ModelProto) -> int:
    """Make the plugin's operators of a model findable, in place, and return how many there are."""
    from onnx import helper

    from ..spectral.strategies.custom import NAMESPACE

    nodes = [node for node in model.graph.node if node.domain == NAMESPACE]
    for node in nodes:
        wanted = {"plugin_namespace": NAMESPACE, "plugin_version": PLUGIN_VERSION}
        kept = [entry for entry in node.attribute if entry.name not in wanted]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(*pair) for pair in wanted.items())])
    others = [function for function in model.functions if function.domain != NAMESPACE]
    del model.functions[:]
    model.functions.extend(others)
    return len(nodes)


def write(artifact: Artifact, out: Path, *, overwrite: bool = False) -> int:
    """Write the file for an artifact that was planned with ``custom-op``, and return its plugin nodes.

    Raises:
        BadInputError: the artifact has no ONNX file, or no such operator is in it.
        OutputError: ``out`` exists or cannot be written.
    """
    import onnx

    from ..onnx.build import serialise

    check_place(out, overwrite=overwrite)
    if ONNX_FILE not in artifact.passport.files:
        raise BadInputError(f"{artifact.path}: holds no {ONNX_FILE}")
    model = onnx.load_from_string(artifact.read(ONNX_FILE))
    nodes = for_plugin(model)
    if not nodes:
        raise BadInputError(
            f"{artifact.path}: has no operator of the plugin; build it from a program that was lowered with "
            'plan={"*": "custom-op"}'
        )
    with replacing(out) as temporary:
        temporary.write_bytes(serialise(model, out.name))
    return nodes


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write the ONNX file for TensorRT with the cuFFT plugin.")
    parser.add_argument("artifact", type=Path, help="folder of an artifact with fdikp_edge::rfft2 nodes")
    parser.add_argument("--out", type=Path, required=True, help="output file")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    options = parser.parse_args()
    nodes = write(Artifact.open(options.artifact), options.out, overwrite=options.overwrite)
    put(f"{options.out}: {nodes} plugin nodes, no function bodies")


if __name__ == "__main__":
    run(main)
