"""The encoding `fpzip`."""
