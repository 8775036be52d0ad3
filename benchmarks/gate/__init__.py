"""The release gate: a report against a baseline, check by check, with an exit code."""
