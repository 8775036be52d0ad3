"""``python -m fdikp_edge``: the same program as ``fdikp-edge``."""

from .cli.start import run

run()
