"""Lets the tests of this folder import their own collection of networks, `spectral_networks`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
