"""Trained weights, one ``<variant>.safetensors`` each, with a card beside it that says how they were made."""
