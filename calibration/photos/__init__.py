"""Photographs that ranges are taken from by default; ``LICENSE.txt`` names where they are from."""
