"""The store behind `s3://`."""
