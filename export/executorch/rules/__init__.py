"""One small rule per operator that XNNPACK does not take: what is written in its place.

The values are the same up to the order of sums. Each module has the rules of one theme.
"""

from __future__ import annotations

from . import copies, numbers, places, products, sums
from .values import Rule

RULES: dict[str, Rule] = {
    **copies.RULES,
    **numbers.RULES,
    **places.RULES,
    **products.RULES,
    **sums.RULES,
}
"""Name of an operator -> its rule, which returns ``None`` to leave the node as it is."""

__all__ = ["RULES", "Rule"]
