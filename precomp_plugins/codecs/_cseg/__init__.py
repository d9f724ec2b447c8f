"""The encoding `compressed_segmentation`."""
