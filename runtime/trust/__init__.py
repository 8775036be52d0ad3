"""Signatures: who built an artifact, checked where it is opened. Optional, with the extra ``sign``."""
