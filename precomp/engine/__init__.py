"""The chunk engine: knows stores, codecs and compressors, no service and no format."""
