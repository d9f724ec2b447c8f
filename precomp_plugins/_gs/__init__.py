"""The store behind `gs://`."""
