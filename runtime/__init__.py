"""Open, run and trust an artifact: passport, sessions, tiling, images.

Needs numpy and one runtime, never torch.
"""
