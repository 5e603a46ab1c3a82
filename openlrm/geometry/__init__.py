"""Surfaces: from a grid of signed distances to a mesh, and from a mesh to pictures; both with gradients."""

from openlrm.geometry.flexicubes import FlexiMesh, Topology, find_topology, flexicubes
from openlrm.geometry.sdf import displace, grid_points, guard_surface, require_surface, sign_regulariser

__all__ = [
    "FlexiMesh",
    "Topology",
    "displace",
    "find_topology",
    "flexicubes",
    "grid_points",
    "guard_surface",
    "require_surface",
    "sign_regulariser",
]
