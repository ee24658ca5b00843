"""ostec: from one photo of a face to a complete UV texture on a textured 3D mesh."""

__version__ = "0.1.0.dev0"
