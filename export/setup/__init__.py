"""Environments of their own for converters whose packages do not go with this project's."""
