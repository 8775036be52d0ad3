"""A bundle on many boards: reserve, copy, build, verify, profile, collect, merge."""
