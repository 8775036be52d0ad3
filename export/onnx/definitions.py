# mypy: ignore-errors
# (onnxscript compiles the two functions below from their source; to Python they are not even valid types.)
"""What the operators of the domain ``fdikp_edge`` are in ONNX: schema, shape inference, body.

Loads onnxscript: import it where it is used. Shapes: x [..., H, W], re and im [..., H, K] with K = W/2 + 1,
``column_*`` [H, H], ``row_*`` [W, K] in ``rfft2`` and [K, W] in ``irfft2``. ``scale`` is what a kernel of its
own multiplies the unscaled transform with; the matrices have it in them.
"""

import onnx
from onnx.defs import OpSchema
from onnxscript import FLOAT, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

from ..spectral.strategies.custom import NAMESPACE

VERSION = 1
"""Of the domain: it changes when an operator's inputs, outputs or meaning do."""

OURS = Opset(NAMESPACE, VERSION)
_MATRICES = ("row_cos", "row_sin", "column_cos", "column_sin")
PORTS = {
    "rfft2": (("x", *_MATRICES), ("re", "im")),
    "irfft2": (("re", "im", *_MATRICES), ("x",)),
}
"""Operator -> names of its inputs and outputs."""


@script(OURS, default_opset=op)
def rfft2(
    x: FLOAT[...],
    row_cos: FLOAT[...],
    row_sin: FLOAT[...],
    column_cos: FLOAT[...],
    column_sin: FLOAT[...],
    scale: float,
):
    """Real [..., H, W] to the parts of its half spectrum [..., H, K]."""
    a = op.MatMul(x, row_cos)
    b = op.MatMul(x, row_sin)
    re = op.Sub(op.MatMul(column_cos, a), op.MatMul(column_sin, b))
    im = op.Add(op.MatMul(column_sin, a), op.MatMul(column_cos, b))
    return re, im


@script(OURS, default_opset=op)
def irfft2(
    re: FLOAT[...],
    im: FLOAT[...],
    row_cos: FLOAT[...],
    row_sin: FLOAT[...],
    column_cos: FLOAT[...],
    column_sin: FLOAT[...],
    scale: float,
):
    """Parts of a half spectrum [..., H, K] to real [..., H, W]."""
    a = op.Sub(op.MatMul(column_cos, re), op.MatMul(column_sin, im))
    b = op.Add(op.MatMul(column_sin, re), op.MatMul(column_cos, im))
    x = op.Add(op.MatMul(a, row_cos), op.MatMul(b, row_sin))
    return x


BODIES = {"rfft2": rfft2.to_function_proto(), "irfft2": irfft2.to_function_proto()}


def emit_rfft2(x, row_cos, row_sin, column_cos, column_sin, scale: float):
    """Emit the node; what torch's exporter calls."""
    return OURS.rfft2(x, row_cos, row_sin, column_cos, column_sin, scale=scale)


def emit_irfft2(re, im, row_cos, row_sin, column_cos, column_sin, scale: float):
    """Emit the node; what torch's exporter calls."""
    return OURS.irfft2(re, im, row_cos, row_sin, column_cos, column_sin, scale=scale)


def register() -> None:
    """Tell the ``onnx`` package of this process about the operators, once."""
    for name, (inputs, outputs) in PORTS.items():
        if onnx.defs.has(name, NAMESPACE):
            continue
        schema = OpSchema(
            name,
            NAMESPACE,
            VERSION,
            doc=(BODIES[name].doc_string or "").strip(),
            inputs=[OpSchema.FormalParameter(port, "T") for port in inputs],
            outputs=[OpSchema.FormalParameter(port, "T") for port in outputs],
            type_constraints=[("T", ["tensor(float)"], "float32")],
            attributes=[
                OpSchema.Attribute("scale", OpSchema.AttrType.FLOAT, "see the module", required=True)
            ],
        )
        row, count = inputs.index("row_cos"), len(outputs)

        def infer(context, row=row, count=count):
            kind = onnx.TypeProto()
            kind.CopyFrom(context.get_input_type(0))
            matrix = context.get_input_type(row).tensor_type.shape
            if len(kind.tensor_type.shape.dim) and len(matrix.dim) == 2:
                kind.tensor_type.shape.dim[-1].CopyFrom(matrix.dim[1])
                for index in range(count):
                    context.set_output_type(index, kind)

        schema.set_type_and_shape_inference_function(infer)
        onnx.defs.register_schema(schema)
