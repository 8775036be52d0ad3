"""Core ML: a lowered program as an ``.mlpackage``."""
