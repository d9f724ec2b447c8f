"""precomp: Neuroglancer Precomputed volumes as numpy arrays."""
