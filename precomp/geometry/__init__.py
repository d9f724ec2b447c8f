"""Positions, sizes and boxes: `Vec` and `Bbox`, both immutable, hashable and exact for all integers."""

from precomp.geometry.bbox import Bbox
from precomp.geometry.vec import Vec

__all__ = ["Bbox", "Vec"]
