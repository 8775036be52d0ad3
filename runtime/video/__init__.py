"""Videos and cameras, frame by frame through a network; needs the extra ``video`` (PyAV)."""
