"""The embedded cloud: the same code paths, on loopback."""
