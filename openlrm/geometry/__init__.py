"""Surfaces: from a grid of signed distances to a mesh, and from a mesh to pictures; both with gradients.

Importing the package loads no MindSpore; what is in `__all__` does so when it is first used.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "FitOptions": "fit",
    "FlexiMesh": "flexicubes_mesh",
    "SurfacePictures": "fit",
    "SurfaceViews": "surface",
    "Topology": "topology",
    "displace": "sdf",
    "find_edges": "surface",
    "find_topology": "topology",
    "fit_surface": "fit",
    "flexicubes": "flexicubes_mesh",
    "grid_points": "sdf",
    "guard_surface": "sdf",
    "rasterize": "raster",
    "render_surface": "surface",
    "require_surface": "sdf",
    "sign_regulariser": "sdf",
    "vertex_normals": "surface",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
