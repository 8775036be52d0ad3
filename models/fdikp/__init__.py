"""FDIKP, the network, in plain PyTorch."""
