import pytest
from fdikp_edge.models.sources.sizes import SizeRequirements
from fdikp_edge.runtime.errors import SizeError
from hypothesis import given
from hypothesis import strategies as st

RULES = st.builds(
    lambda step, times, square: SizeRequirements(step * times, step, square),
    st.integers(1, 128),
    st.integers(1, 4),
    st.booleans(),
)
SIDES = st.integers(1, 5000)


@given(RULES, SIDES, SIDES)
def test_padded_size_is_valid_large_enough_and_smallest(rule: SizeRequirements, h: int, w: int) -> None:
    padded_h, padded_w = rule.pad_to(h, w)
    assert padded_h >= h and padded_w >= w
    rule.check(padded_h, padded_w)
    if rule.square:
        assert padded_h == padded_w
        h = w = max(h, w)
    for padded, side in ((padded_h, h), (padded_w, w)):
        one_less = padded - rule.multiple_of
        assert one_less < side or one_less < rule.minimum


@given(RULES, SIDES, SIDES)
def test_accepts_is_the_stated_rule(rule: SizeRequirements, h: int, w: int) -> None:
    stated = all(side >= rule.minimum and side % rule.multiple_of == 0 for side in (h, w))
    assert rule.accepts(h, w) == (stated and (h == w or not rule.square))


def test_error_names_both_neighbours() -> None:
    with pytest.raises(SizeError, match=r"300x512 .*multiple of 128 and at least 256.*: 256x512, 384x512\."):
        SizeRequirements(256, 128).check(300, 512)


def test_error_below_the_minimum_names_only_what_exists() -> None:
    with pytest.raises(SizeError, match=r"Nearest valid sizes: 256x256\."):
        SizeRequirements(256, 128).check(100, 1)


def test_error_of_a_square_rule_names_squares() -> None:
    with pytest.raises(SizeError, match=r"both must be equal\. Nearest valid sizes: 64x64, 128x128\."):
        SizeRequirements(64, 64, square=True).check(64, 128)


@pytest.mark.parametrize(("minimum", "multiple"), [(0, 1), (32, 0), (100, 32), (16, 32)])
def test_contradicting_requirements_cannot_be_made(minimum: int, multiple: int) -> None:
    with pytest.raises(ValueError, match="multiple"):
        SizeRequirements(minimum, multiple)
