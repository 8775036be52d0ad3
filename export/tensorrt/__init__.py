"""TensorRT and TensorRT-RTX: a lowered program as an engine."""
