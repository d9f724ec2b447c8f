"""The service behind `boss://`."""
