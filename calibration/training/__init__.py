"""Training through the rounding of an int8 artifact."""
