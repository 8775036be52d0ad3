"""``python -m fdikp_edge.cli``."""

from .main import run

run()
