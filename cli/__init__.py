"""The command line: parse, call, print.

No module here imports a heavy library at its top, so that ``fdikp-edge --help`` answers at once and the
commands that run an artifact work on a device without torch.
"""
