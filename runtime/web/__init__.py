"""What shows and runs ``web`` artifacts on this machine: a local server, and the browser."""
