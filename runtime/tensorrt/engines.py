"""What is to be known of a TensorRT engine before it is loaded, and what a parser's refusal means.

An engine is code for one processor and one TensorRT. ``engine.json`` in its artifact says which;
:meth:`EngineFacts.check` holds that against the machine at hand before a byte of the engine is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .. import strict_json
from ..artifact import Artifact
from ..errors import ArtifactError, BadInputError, TargetUnavailableError
from ..onnx_nodes import OnnxNode
from .cuda import Device
from .features import MODULES, Product

FACTS_FILE = "engine.json"
ENGINE_FILE = "model.engine"
ONNX_FILE = "model.onnx"
LOG_FILE = "build.log"

FORMAT = "fdikp-edge engine"
_MAX_BYTES = 1 << 16

Capability = tuple[int, int]
Typing = Literal["strong", "weak"]


@dataclass(frozen=True)
class EngineFacts:
    """What an engine was built with and for.

    ``version`` is TensorRT's, in full; ``capabilities`` are the compute capabilities it has code for;
    ``typing`` is ``strong`` (every type is in the ONNX file) or ``weak`` (chosen under builder flags).
    """

    product: Product
    version: str
    capabilities: tuple[Capability, ...]
    typing: Typing = "strong"

    def to_json(self) -> bytes:
        """Return the bytes of ``engine.json``."""
        content = {
            "format": FORMAT,
            "product": self.product,
            "version": self.version,
            "capabilities": [capability_text(pair) for pair in self.capabilities],
            "typing": self.typing,
        }
        return strict_json.canonical(content) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> EngineFacts:
        """Read what :meth:`to_json` wrote.

        Raises:
            ArtifactError: it is something else.
        """
        try:
            content = strict_json.parse(data)
            product, typing = content["product"], content["typing"]
            pairs = tuple(parse_capability(entry) for entry in content["capabilities"][:64])
            if content["format"] != FORMAT or product not in MODULES or typing not in ("strong", "weak"):
                raise ValueError(f"is no {FORMAT} that this release knows")
            if not pairs:
                raise ValueError("names no compute capability")
            return cls(product, str(content["version"]), pairs, typing)
        except (ValueError, KeyError, TypeError, AttributeError, BadInputError) as error:
            raise ArtifactError(f"{FACTS_FILE}: {error}. Export the artifact again") from error

    @classmethod
    def of(cls, artifact: Artifact) -> EngineFacts:
        """Read the facts of an artifact; :class:`ArtifactError` if it has none that can be trusted."""
        return cls.from_json(artifact.read(FACTS_FILE, _MAX_BYTES))

    def check(self, product: Product, version: str, device: Device) -> None:
        """Check that a TensorRT and a processor are those that the engine was built for.

        Raises:
            ArtifactError: the engine is of the other product.
            TargetUnavailableError: another version, or a processor that it has no code for.
        """
        if product != self.product:
            raise ArtifactError(f"the engine is for {self.product}, not for {product}. Export it again")
        if version != self.version:
            raise TargetUnavailableError(
                f"the engine was built by {self.product} {self.version}, and here is {version}: an engine "
                "runs on the version that built it. Build it again here, or install that version"
            )
        if device.capability not in self.capabilities:
            raise TargetUnavailableError(
                f"the engine was built for compute capability "
                f"{', '.join(map(capability_text, self.capabilities))}; {device.name} has "
                f"{capability_text(device.capability)}. Build it for that one"
            )


def capability_text(pair: Capability) -> str:
    """Return (8, 6) as ``8.6``."""
    return f"{pair[0]}.{pair[1]}"


def parse_capability(text: str) -> Capability:
    """Return ``8.6`` as (8, 6); :class:`BadInputError` if it is not of that form."""
    match = re.fullmatch(r"([1-9][0-9]?)\.([0-9])", text.strip())
    if match is None:
        raise BadInputError(f"{text!r:.20} is no compute capability; expected a form such as 8.6")
    return int(match[1]), int(match[2])


def refusals(parser: Any, nodes: Mapping[str, OnnxNode]) -> list[str]:
    """Say what a TensorRT parser refused, and where in the network that is.

    Args:
        parser: an ``OnnxParser`` after a failed parse, of any TensorRT from 10.
        nodes: of the file, from :func:`..onnx_nodes.onnx_nodes`.
    """
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        name = str(error.node_name() or "")
        # A quantised or a cast node is named after the node it was put in front of.
        node = nodes.get(name) or OnnxNode(str(error.node_operator() or ""), "")
        place = node.module or "the root module"
        kind = str(error.node_operator() or node.operator or "the file")
        why = f"{str(error.code()).rpartition('.')[2]}: {_sentence(str(error.desc()))}"
        reasons.append(f"{kind} {name} in {place}: {why}" if name else why)
    return list(dict.fromkeys(reasons))


def name_places(text: str, nodes: Mapping[str, OnnxNode]) -> list[str]:
    """Return the modules of the nodes that a line of a builder's log names, in the order it names them."""
    # A fused group is written as ForeignNode[first...last].
    words: Sequence[str] = re.findall(r"[A-Za-z_][\w./:]*", text.replace("...", " "))
    return list(dict.fromkeys(nodes[word].module for word in words if word in nodes and nodes[word].module))


def _sentence(text: str) -> str:
    return " ".join(text.split())[:400]
