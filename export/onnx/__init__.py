"""ONNX: a lowered program as a file for ONNX Runtime, and for what reads ONNX."""
