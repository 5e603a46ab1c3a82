"""A field or a surface to a finished mesh: extracted, smoothed, thinned out, coloured as views show it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from openlrm.geometry.density_grid import Field, FieldQuery
from openlrm.geometry.mesh import Mesh, extract_mesh
from openlrm.geometry.mesh_edit import decimate, smooth
from openlrm.geometry.mesh_io import vertex_normals
from openlrm.geometry.mesh_options import TEXTURE_FACES, MeshSettings
from openlrm.geometry.surface_color import seen_color
from openlrm.geometry.texture import bake
from openlrm.utils.progress import Bars, no_bar


def field_mesh(
    density: Field,
    field: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    settings: MeshSettings,
    chunk: int,
    bars: Bars = no_bar,
) -> Mesh:
    """Mesh the surface of a field.

    Colours are asked of the field where smoothing and decimation have moved the surface.

    Args:
        density: (P, 3) float32 points -> (P,) density.
        field: points -> density and colour (P, 3).
        settings: what the mesh shall be like.
        chunk: points of one call of `density` and `field`.
        bars: where progress is told.

    Raises:
        UserError: no surface at the threshold (names one that would do), a field that is not finite, or a package
            that is missing.
    """
    settings.check()
    with bars("mesh") as progress:
        mesh = extract_mesh(density, None, settings.size, settings.threshold, chunk, progress=progress)
    return finish_mesh(mesh, seen_color(field, settings.color_depth), settings, chunk, bars)


def finish_mesh(mesh: Mesh, color: Field, settings: MeshSettings, chunk: int, bars: Bars = no_bar) -> Mesh:
    """Smooth, thin out and colour a mesh.

    Args:
        mesh: as it was extracted.
        color: (P, 6) points and outward normals -> colour (P, 3).
        settings: what the mesh shall be like.
        chunk: points of one call of `color`.
        bars: where progress is told.
    """
    textured = settings.texture != "none"
    corners = smooth(mesh.vertices, mesh.faces, settings.smooth)
    target = TEXTURE_FACES if textured and settings.faces is None else settings.faces
    corners, triangles = decimate(corners, mesh.faces, target)
    scale = 1.0 if settings.metres is None else settings.metres / np.ptp(corners, axis=0).max()
    shape = Mesh(corners * scale, triangles)
    if not settings.colored:
        return shape
    if textured:
        with bars("texture") as progress:
            texture = bake(corners, triangles, color, settings.texture_size, FieldQuery(chunk, progress))
        return shape._replace(texture=texture)
    normals = vertex_normals(corners, triangles)
    rays = np.concatenate([corners, normals], axis=1, dtype=np.float32)
    with bars("colours") as progress:
        query = FieldQuery(chunk, progress)
        query.total = len(rays)
        colors = np.clip(query.ask(color, rays, "colour"), 0, 1)
    return shape._replace(colors=colors, normals=normals)
