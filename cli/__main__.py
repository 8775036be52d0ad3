"""``python -m fdikp_edge.cli``."""

from .start import run

run()
