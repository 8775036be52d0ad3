"""Is it right: parity with PyTorch, picture measures, budgets, error maps, worst cases and bisection."""
