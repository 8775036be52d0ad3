"""Built models cut into parts, for bisection."""
