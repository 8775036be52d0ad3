"""FDIKP in plain PyTorch with ``torch.fft``: the network, its variants and their weights.

It knows nothing of export. A reconstruction from the paper's abstract and its lineage, see :mod:`.fdikp`.
"""
