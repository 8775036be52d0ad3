"""Folders of photos: what is to be done, what was done, and the work itself."""
