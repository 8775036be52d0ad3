"""How fast it is: latency, paired comparison, single stream, layers, memory, the machine itself."""
