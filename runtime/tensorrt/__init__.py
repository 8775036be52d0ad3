"""TensorRT on a device: CUDA through ctypes, engines, and what each release can do."""
