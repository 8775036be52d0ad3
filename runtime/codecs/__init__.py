"""Photo files to arrays and back, on top of Pillow."""
