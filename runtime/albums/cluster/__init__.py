"""Folders of photos on a Ray cluster; needs the extra ``ray``."""
