"""FDIKP in plain PyTorch with ``torch.fft``: the network, its variants, and their weights. Knows nothing of export."""
