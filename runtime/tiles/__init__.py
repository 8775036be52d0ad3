"""A photo in tiles: their grid, how one is run, and what cutting did to the result."""
