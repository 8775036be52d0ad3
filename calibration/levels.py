"""The range of 8-bit values: symmetric, -127 to 127. Needs no torch."""

LEVELS = 127
REDUCED_LEVELS = 64
"""The largest 8-bit weight for processors whose kernels add two products in 16 bits: the sum of two products
with unsigned bytes is at most 2 * 255 * 64 = 32640 then, which fits."""
