"""Scripts behind the figures of the documentation; each is run with ``python -m``."""
