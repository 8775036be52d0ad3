"""An ONNX file from elsewhere: read with care, its transforms rewritten, built for what takes ONNX."""
