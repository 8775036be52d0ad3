"""One small rule per complex or FFT operator, grouped by kind."""
