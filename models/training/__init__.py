"""Training: sharp photographs, a model of how a lens puts them out of focus, and the loop.

``python -m fdikp_edge.models.training --help`` explains how to train; ``README.md`` beside this file, how it
works and what the shipped weights were made of.
"""
