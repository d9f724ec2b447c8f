"""The disk cache: whole objects of a remote store in a local folder that is itself a volume."""
