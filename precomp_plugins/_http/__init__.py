"""The store behind `http://` and `https://`."""
