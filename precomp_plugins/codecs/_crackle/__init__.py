"""The encoding `crackle`."""
