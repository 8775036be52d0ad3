"""Deblur photos with an opened artifact: the names most callers need, in one place."""

from __future__ import annotations

from .batch import FileResult, deblur_files, plan_files
from .deblurrer import Deblurrer, Progress, ProgressCallback
from .tiles.seams import SeamReport, compare

__all__ = [
    "Deblurrer",
    "FileResult",
    "Progress",
    "ProgressCallback",
    "SeamReport",
    "compare",
    "deblur_files",
    "plan_files",
]
