"""Surfaces of triplanes: heads for distance, shape and colour, FlexiCubes, views by rasterising, file format."""

from openlrm.representations.surface.representation import TriplaneSurface
from openlrm.representations.surface.synthesizer import Geometry, SurfaceSynthesizer

__all__ = ["Geometry", "SurfaceSynthesizer", "TriplaneSurface"]
