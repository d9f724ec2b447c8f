"""Shard files, `neuroglancer_uint64_sharded_v1`: many chunks in one object.

`ids`, `index`, `build` and `reader` are the format alone: they know numbers and bytes, whatever these are of.
`cells`, `store`, `batches` and `write` show the chunks of a scale in it.
"""
