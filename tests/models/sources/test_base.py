import math
from typing import Any

import pytest
from fdikp_edge.models.sources import NetworkSource, SizeRequirements, TensorSpec
from fdikp_edge.runtime.errors import SizeError, SourceError
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

PICTURE = TensorSpec("image", (1, 3, None, None), layout="NCHW", color="RGB")


def source(**changes: Any) -> NetworkSource:
    return NetworkSource(
        **{"name": "net", "spec": "net", "load": nn.Identity, "inputs": (PICTURE,)} | changes
    )


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_height_and_width_go_where_they_were_left_open(height: int, width: int) -> None:
    assert PICTURE.at((height, width)).shape == (1, 3, height, width)
    half_open = TensorSpec("x", (2, None, 9))
    assert half_open.at((height, width)).shape == (2, height, 9)
    closed = TensorSpec("x", (4, 5))
    assert closed.at((height, width)) is closed and closed.at(None) is closed


def test_a_missing_size_names_the_input_and_the_option() -> None:
    with pytest.raises(SizeError, match=r"'image' is 1x3xHxW: .*--size"):
        PICTURE.at(None)


def test_complex_inputs_are_stored_as_two_real_parts() -> None:
    spec = TensorSpec("field", (1, 8, 5), "complex64", (-1.0, 1.0))
    assert (spec.stored().shape, spec.stored().dtype) == ((1, 8, 5, 2), "float32")
    assert PICTURE.stored() is PICTURE


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"name": "two words"}, "'two words': the name must be"),
        ({"name": ""}, "the name must be"),
        ({"shape": ()}, "0 sides"),
        ({"shape": (1,) * 9}, "9 sides; expected 1 to 8"),
        ({"shape": (1,) * 8, "dtype": "complex64"}, "8 sides; expected 1 to 7"),
        ({"shape": (1, 0)}, "each side"),
        ({"shape": (1, 2.0)}, "each side"),
        ({"shape": (1, True)}, "each side"),
        ({"shape": (None, 1, 2)}, "only the last two"),
        ({"shape": (None,)}, "only the last two"),
        ({"dtype": "float16"}, "'float16'; expected one of float32"),
        ({"value_range": (1.0, 1.0)}, "value range 1..1"),
        ({"value_range": (0.0, math.inf)}, "value range"),
        ({"value_range": (math.nan, 1.0)}, "value range"),
        ({"shape": (1, 3, 4, 4), "layout": "NHWC"}, "layout 'NHWC'"),
        ({"layout": "NCHW"}, "a picture has four sides"),
        ({"color": "RGB"}, "no picture"),
        ({"shape": (1, 4, 4, 4), "layout": "NCHW", "color": "RGB"}, "4 channels as 'RGB'"),
        ({"shape": (1, 3, 4, 4), "layout": "NCHW", "color": "CMYK"}, "'CMYK'"),
    ],
)
def test_specs_that_contradict_themselves_are_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        TensorSpec(**{"name": "x", "shape": (1, 2)} | values)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"inputs": ()}, "no inputs"),
        ({"inputs": (PICTURE, PICTURE)}, "two inputs are called 'image'"),
        ({"outputs": ("image",)}, "'image'"),
        ({"outputs": ("a", "a")}, "'a'"),
        ({"outputs": ("a b",)}, "'a b' is not a name"),
        ({"load": None}, "load must be a function"),
        ({"defocus": ()}, "radii"),
        ({"defocus": (-1.0,)}, "radii"),
        ({"scale": 0}, "scale 0"),
    ],
)
def test_sources_that_contradict_themselves_are_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SourceError, match=f"network 'net': .*{match}"):
        source(**changes)


def test_a_size_is_checked_against_the_rule_only_where_it_is_used() -> None:
    rule = SizeRequirements(minimum=32, multiple_of=16)
    with pytest.raises(SizeError, match="32x32, 48x48"):
        source(sizes=rule).at((40, 40))
    assert source(sizes=rule).at((48, 32))[0].shape == (1, 3, 48, 32)
    fixed = TensorSpec("x", (1, 7))
    assert source(sizes=rule, inputs=(fixed,)).at((40, 40)) == (fixed,)
