"""Meshes and textures, in numpy: from a field to a surface, edited, coloured and written."""
