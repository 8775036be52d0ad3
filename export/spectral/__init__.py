"""The spectral lowering: complex values as pairs, transforms as real matrix products, planned and audited."""
