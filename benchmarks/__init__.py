"""Parity, latency, budgets, the matrix of targets and precisions, and the report."""
