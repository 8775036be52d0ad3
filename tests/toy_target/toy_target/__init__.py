"""A target that is installed beside fdikp-edge."""
