"""From a traced network to a file per target: the spectral lowering, the target table, one builder per target."""
