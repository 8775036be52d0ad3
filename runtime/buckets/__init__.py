"""Artifacts of one network in several sizes: where they lie, what holds them together, which one runs."""
