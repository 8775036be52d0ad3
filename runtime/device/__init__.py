"""What a device does with a bundle: check and unpack it, build engines from it. Needs NumPy, never torch."""
