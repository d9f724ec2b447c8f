"""Meshes of segments: the model, the legacy format and the facade behind `vol.mesh`."""
