"""What any network says of itself."""

from .stub import of as of
