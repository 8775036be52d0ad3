"""Reads a request, converts, and writes what came of it."""

import json
import traceback
from pathlib import Path
from typing import Any

from . import ANSWER, BIASES, MODEL, PROGRAM, REQUEST
from .convert import convert
from .finish import finish
from .graph import Graph
from .marks import lost_marks


def main(folder: Path) -> int:
    """Convert the program in ``folder``, and write what came of it there."""
    answer: dict[str, Any] = {"problem": "", "halved": 0, "floats": [], "versions": {}}
    try:
        request = json.loads((folder / REQUEST).read_text(encoding="utf-8"))
        answer["versions"] = _versions()
        graph, lost = _converted(folder, request)
        data, facts = finish(graph, request, _biases(folder))
        answer |= {**facts, "floats": sorted((*lost, *facts["floats"]))}
        (folder / MODEL).write_bytes(data)
    except MemoryError:
        answer["problem"] = "out of memory"
    except Exception as error:  # converters raise errors of many kinds
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
        more = 2 if lines[0].endswith(":") else 1  # the converter puts its reason under a heading
        answer["problem"] = f"{type(error).__name__}: {' '.join(lines[:more])}"
    (folder / ANSWER).write_text(json.dumps(answer), encoding="utf-8")
    return 1 if answer["problem"] else 0


def _converted(folder: Path, request: dict[str, Any]) -> tuple[Graph, list[int]]:
    """Return the converted program, and which layers have to stay in floats.

    Those are layers that the converter merged with other operators: the program is converted again with their
    own biases.
    """
    marked = list(range(len(request["layers"])))
    graph = Graph.read(convert(folder / PROGRAM, request, marked))
    lost = lost_marks(graph, marked)
    if lost:
        marked = [place for place in marked if place not in lost]
        graph = Graph.read(convert(folder / PROGRAM, request, marked))
        if again := lost_marks(graph, marked):
            raise ValueError(f"layer {request['layers'][again[0]]['node']} is not in the converted file")
    return graph, lost


def _biases(folder: Path) -> dict[int, Any]:
    import numpy as np

    if not (folder / BIASES).is_file():
        return {}
    with np.load(folder / BIASES, allow_pickle=False) as stored:
        return {int(name): stored[name] for name in stored.files}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("litert-torch", "litert-converter", "ai-edge-litert", "torch")}
