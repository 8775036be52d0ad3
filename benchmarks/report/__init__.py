"""What a run found, as data, as ``report.json`` and as a page."""
