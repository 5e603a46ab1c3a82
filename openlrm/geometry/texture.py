"""A texture for a mesh: its faces unwrapped into an atlas, each texel coloured by asking the field."""

from __future__ import annotations

import numpy as np

from openlrm.geometry.density_grid import Field, FieldQuery
from openlrm.geometry.mesh_io import Texture, vertex_normals
from openlrm.utils.images import to_uint8

# Texels between charts, so that a viewer that interpolates never mixes two of them.
_PADDING = 6
# How far beyond a chart's edge interpolation looks: a texel and its diagonal.
_MARGIN = np.float32(1.5)
# xatlas takes faces of an area below 1e-7 for nothing and leaves them out.
_UNWRAP_SCALE = np.float32(1000)


def bake(vertices: np.ndarray, faces: np.ndarray, color: Field, size: int, query: FieldQuery) -> Texture:
    """Unwrap a mesh and ask for the colour of the point of the surface that each texel shows.

    Texels outside the charts take the colour of the nearest one inside, so that smaller levels of the picture hold
    no foreign colour either.

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3).
        color: (P, 6) float32 points and normals -> (P, 3) colour, clipped to [0, 1].
        size: side of the texture in texels.
        query: asks, checks and counts.

    Raises:
        UserError: a colour that is not finite.
    """
    uv, vertex, corners = unwrap(vertices, faces, size)
    rays = np.concatenate([vertices, vertex_normals(vertices, faces)], axis=1, dtype=np.float32)
    picture = _paint(uv * np.float32(size), corners, rays[vertex], color, size, query)
    return Texture(uv, vertex, corners, picture)


def unwrap(vertices: np.ndarray, faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut a surface into charts and lay them out in a square (by xatlas).

    Args:
        vertices: (V, 3) float32.
        faces: (F, 3).
        size: side of the texture in texels, about; the space between charts is measured in them.

    Returns:
        uv (T, 2) float32 in [0, 1], the vertex (T,) int32 that lies there, and the faces (F, 3) int32, in the order
        given, as indices of uv.
    """
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32) * _UNWRAP_SCALE, np.ascontiguousarray(faces, np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.create_image = size, _PADDING, False
    atlas.generate(xatlas.ChartOptions(), packing)
    vertex, corners, uv = atlas[0]
    return uv.astype(np.float32), vertex.astype(np.int32), corners.astype(np.int32)


def _paint(
    uv: np.ndarray, corners: np.ndarray, rays: np.ndarray, color: Field, size: int, query: FieldQuery
) -> np.ndarray:
    """Colour a picture (size, size, 3) uint8; uv in texels, rays (T, 6) of its rows."""
    from scipy.ndimage import distance_transform_edt

    from openlrm.geometry.texture_raster import claim_texels, place_texels

    owner = np.full((size, size), -1, np.int32)
    claim_texels(uv, corners, _MARGIN, owner, np.full((size, size), np.inf, np.float32))
    picture = np.empty((size, size, 3), np.uint8)
    texels = np.flatnonzero(owner.reshape(-1) >= 0)
    query.total += len(texels)
    for start in range(0, len(texels), query.chunk):
        part = texels[start : start + query.chunk]
        points = np.empty((len(part), 6), np.float32)
        place_texels(part, owner, uv, corners, rays, points)
        picture.reshape(-1, 3)[part] = to_uint8(np.clip(query.ask(color, points, "colour"), 0, 1))
    row, column = distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    return picture[row, column]
