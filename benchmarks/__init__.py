"""Parity, latency, budgets, deployment to all targets and precisions, and the report."""
