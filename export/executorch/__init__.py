"""The ``executorch`` target: a program for ExecuTorch, PyTorch's runtime for phones and boards."""
