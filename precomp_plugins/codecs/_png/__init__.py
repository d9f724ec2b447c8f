"""The encoding `png`."""
