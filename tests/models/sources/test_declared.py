import pytest
from fdikp_edge.models.sources import TensorSpec
from fdikp_edge.models.sources.declared import parse_input
from fdikp_edge.runtime.errors import SourceError
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("noise=1x1x256x256", TensorSpec("noise", (1, 1, 256, 256))),
        ("t=8:int64:0..9", TensorSpec("t", (8,), "int64", (0.0, 9.0))),
        ("t=8:0..9:int64", TensorSpec("t", (8,), "int64", (0.0, 9.0))),
        ("f=1x4x8x5:complex64", TensorSpec("f", (1, 4, 8, 5), "complex64", (-1.0, 1.0))),
        ("b=2x3:uint8", TensorSpec("b", (2, 3), "uint8", (0.0, 255.0))),
        ("m=2x3:bool", TensorSpec("m", (2, 3), "bool", None)),
        ("x=1x3x16x16:-1..1:rgb", TensorSpec("x", (1, 3, 16, 16), "float32", (-1.0, 1.0), "NCHW", "RGB")),
        ("x=1x1xHxW:grey", TensorSpec("x", (1, 1, None, None), layout="NCHW", color="grey")),
        ("x=1x1xHxW:GRAY", TensorSpec("x", (1, 1, None, None), layout="NCHW", color="grey")),
        ("x=1x4x8x8:picture", TensorSpec("x", (1, 4, 8, 8), layout="NCHW")),
        ("x=1x4x8x8:rgba", TensorSpec("x", (1, 4, 8, 8), layout="NCHW", color="RGBA")),
        ("x = 1x2:1e-3..1e2", TensorSpec("x", (1, 2), value_range=(1e-3, 100.0))),
    ],
)
def test_descriptions_are_read(text: str, spec: TensorSpec) -> None:
    assert parse_input(text) == spec


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
    st.floats(-1e6, 1e6),
    st.floats(1e-3, 1e6),
    st.sampled_from(["float32", "uint8", "int32", "int64"]),
)
def test_what_is_written_comes_back(shape: list[int], low: float, width: float, dtype: str) -> None:
    high = low + width
    text = f"x={'x'.join(map(str, shape))}:{dtype}:{low!r}..{high!r}"
    assert parse_input(text) == TensorSpec("x", tuple(shape), dtype, (low, high))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "write NAME=SHAPE, such as"),
        ("x", "write NAME=SHAPE"),
        ("x=", "write NAME=SHAPE"),
        ("x=1x-3", "'-3' is no side"),
        ("x=1x²", "is no side"),
        ("x=axb", "'a' is no side"),
        ("x=1x2x", "'' is no side"),
        ("x=0x2", "each side"),
        ("x=Hx2x2", "only the last two"),
        ("x=1x2:float16", "'float16' is no dtype"),
        ("x=1x2:float32:uint8", "'uint8' is no dtype"),
        ("x=1x2:0..1:0..2", "second of its kind"),
        ("x=1x2:a..b", "'a..b' is no range"),
        ("x=1x2:1..0", "the lower one first"),
        ("x=1x2:0..inf", "two finite numbers"),
        ("x=1x2:int32", "give the range"),
        ("x=1x2:rgb", "a picture has four sides"),
        ("x=1x1x2x2:rgb", "1 channels as 'RGB'"),
        ("a b=1", "the name must"),
        (f"x={'1x' * 8}1", "9 sides"),
    ],
)
def test_other_texts_are_refused_with_the_text(text: str, match: str) -> None:
    with pytest.raises(SourceError, match=match) as caught:
        parse_input(text)
    assert str(caught.value).startswith("--input ") or not text
