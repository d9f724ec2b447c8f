"""The store behind `file://`."""
