"""The device bundle: an artifact with the program that checks and builds it on a board."""
