"""The encoding `compresso`."""
