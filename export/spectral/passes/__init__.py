"""Passes over the lowered graph that make it smaller and exact."""
