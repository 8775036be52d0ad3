"""The ``web`` target: a page that runs the network in a browser, on ONNX Runtime Web."""
