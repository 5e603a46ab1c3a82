"""Pictures of a mesh with gradients: mask, depth, normals and places of what each pixel sees.

A z-buffer decides on the host which triangle a pixel sees; barycentrics, attributes and antialiased silhouettes are
differentiable in the vertices (the method of Laine et al., Modular Primitives for High-Performance Differentiable
Rendering, 2020, with silhouettes found edge by edge). Each operation is compiled loops behind a Cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from mindspore import Tensor, nn, ops

from openlrm.geometry.raster import FAR, NEAR, Visible, rasterize
from openlrm.ops.host.arrays import float_array
from openlrm.utils.threads import spread


@dataclass(frozen=True, eq=False)
class EdgeFaces:
    """Edges of a mesh with the faces at each.

    Attributes:
        ends: (E, 2) int32 vertices.
        firsts: (E + 1,) int64 where each edge's faces begin in `opposites`.
        opposites: (3 F,) int32 third vertices of the faces, edge by edge.
    """

    ends: np.ndarray
    firsts: np.ndarray
    opposites: np.ndarray


def find_edges(faces: np.ndarray) -> EdgeFaces:
    """Edges of faces (F, 3)."""
    from openlrm.geometry.antialias_kernels import list_edges

    most = 3 * len(faces)
    ends, firsts, opposites = np.empty((most, 2), np.int32), np.empty(most + 1, np.int64), np.empty(most, np.int32)
    count = list_edges(np.ascontiguousarray(faces, np.int32), int(faces.max(initial=-1)) + 1, ends, firsts, opposites)
    return EdgeFaces(ends[:count].copy(), firsts[: count + 1].copy(), opposites)


@dataclass(frozen=True, eq=False)
class SurfaceViews:
    """What M cameras see of a mesh.

    Attributes:
        mask: (M, 1, H, W) share of the pixel that the surface covers, with the silhouettes' gradient.
        depth: (M, 1, H, W) along the viewing axis; 0 where nothing is seen.
        normal: (M, 3, H, W) in the world's axes, -1..1 as 0..1; 0 where nothing is seen.
        position: (M, H, W, 3) place in the world; 0 where nothing is seen.
        attributes: (M, C, H, W) interpolated from the vertices; 0 where nothing is seen. None if there are none.
        visible: the z-buffer of each view.
    """

    mask: Tensor
    depth: Tensor
    normal: Tensor
    position: Tensor
    attributes: Tensor | None
    visible: list[Visible]

    @cached_property
    def pixels(self) -> np.ndarray:
        """(P,) int32 flat indices, over views, rows and columns, of the pixels that see the surface."""
        return np.flatnonzero(np.stack([view.face for view in self.visible]) >= 0).astype(np.int32)

    def covered_positions(self) -> Tensor:
        """(P, 3) places in the world that `pixels` see, for instance to ask a colour network about."""
        return ops.gather(self.position.reshape(-1, 3), Tensor(self.pixels), 0)

    def paint(self, values: Tensor, background: float = 1.0) -> Tensor:
        """Pictures (M, C, H, W) of values (P, C) at `pixels` before a background."""
        views, _, height, width = self.mask.shape
        rows = np.full(views * height * width, len(self.pixels), np.int32)
        rows[self.pixels] = np.arange(len(self.pixels))
        channels = values.shape[1]
        ground = ops.full((1, channels), background, dtype=values.dtype)
        values = ops.concat([values, ground]) if len(self.pixels) else ground
        return ops.gather(values, Tensor(rows), 0).reshape(views, height, width, channels).transpose(0, 3, 1, 2)


def render_surface(
    vertices: Tensor,
    faces: np.ndarray,
    w2c: np.ndarray,
    intrinsics: np.ndarray,
    size: tuple[int, int],
    attributes: Tensor | None = None,
    antialias: bool = True,
    near: float = NEAR,
    far: float = FAR,
) -> SurfaceViews:
    """Render a mesh from both sides; gradients go to vertices and attributes.

    Args:
        vertices: (V, 3), float32 or float64.
        faces: (F, 3) indices, numpy.
        w2c: (M, 4, 4) world to camera, OpenGL axes.
        intrinsics: (4,) or (M, 4): fx, fy, cx, cy divided by the picture's side.
        size: height and width in pixels.
        attributes: (V, C) of the vertices, such as colours.
        antialias: blend mask and normals at silhouettes. Otherwise no gradient knows where the surface ends.
        near: least depth that is seen.
        far: greatest depth that is seen.

    Raises:
        UserError: as `rasterize`.
    """
    faces = np.ascontiguousarray(faces, np.int32)
    normals, interpolate, finish, blend = _cells()
    visible = rasterize(float_array(vertices), faces, w2c, intrinsics, size, near, far)
    varying = normals(vertices, faces)
    if attributes is not None:
        varying = ops.concat([varying, attributes], 1)
    position, depth, varying = interpolate(vertices, varying, faces, visible)
    normal = varying if attributes is None else varying[..., :3]
    covered = np.stack([view.face for view in visible])[..., None] >= 0
    mask = Tensor.from_numpy(covered.astype(float_array(vertices).dtype))
    if antialias:
        edges = find_edges(faces)
        mask, normal = blend(mask, normal, vertices, edges, visible, [_find_pairs(edges, v, near) for v in visible])
    views = len(visible)
    return SurfaceViews(
        mask=mask.reshape(views, 1, *size),
        depth=depth,
        normal=finish(normal, visible),
        position=position,
        attributes=varying[..., 3:].transpose(0, 3, 1, 2) if attributes is not None else None,
        visible=visible,
    )


class VertexNormals(nn.Cell):
    """Area-weighted normals of vertices; PyNative."""

    def construct(self, vertices: Tensor, faces: np.ndarray) -> Tensor:
        """(V, 3), (F, 3) -> (V, 3) unit vectors, (0, 0, 1) where faces cancel or there are none."""
        from openlrm.geometry.surface_kernels import normalise

        normals = np.empty(vertices.shape, float_array(vertices).dtype)
        normalise(_normal_sums(float_array(vertices), faces), normals)
        return Tensor.from_numpy(normals)

    def bprop(self, vertices, faces, out, dout) -> tuple:
        """Gradient of the vertices."""
        from openlrm.geometry.surface_kernels import normals_gradient

        places = float_array(vertices)
        dvertices = np.zeros_like(places)
        normals_gradient(places, faces, _normal_sums(places, faces), float_array(dout), dvertices)
        return Tensor.from_numpy(dvertices), None


def _normal_sums(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    from openlrm.geometry.surface_kernels import sum_normals

    sums = np.zeros(vertices.shape)
    sum_normals(vertices, faces, sums)
    return sums


class Interpolate(nn.Cell):
    """Place, depth and attributes of what each pixel sees; PyNative."""

    def construct(self, vertices: Tensor, attributes: Tensor, faces: np.ndarray, visible: Sequence[Visible]) -> tuple:
        """(V, 3), (V, C) -> position (M, H, W, 3), depth (M, 1, H, W), attributes (M, H, W, C)."""
        from openlrm.geometry.surface_kernels import interpolate

        vertices, attributes = float_array(vertices), float_array(attributes)
        views, (height, width) = len(visible), visible[0].face.shape
        position = np.empty((views, height, width, 3), vertices.dtype)
        depth = np.empty((views, 1, height, width), vertices.dtype)
        varying = np.empty((views, height, width, attributes.shape[1]), vertices.dtype)

        def work(i: int) -> None:
            view, out = visible[i], (position[i], depth[i, 0], varying[i])
            interpolate(view.face, view.points, view.lens, faces, vertices, attributes, *out)

        spread(work, views)
        return tuple(map(Tensor.from_numpy, (position, depth, varying)))

    def bprop(self, vertices, attributes, faces, visible, out, dout) -> tuple:
        """Gradients of vertices and attributes."""
        from openlrm.geometry.surface_kernels import interpolate_gradient

        vertices, attributes = map(float_array, (vertices, attributes))
        dposition, ddepth, dvarying = map(float_array, dout)
        dvertices = np.zeros((len(visible), *vertices.shape))
        dattributes = np.zeros((len(visible), *attributes.shape))

        def work(i: int) -> None:
            view, pull = visible[i], (dposition[i], ddepth[i, 0], dvarying[i])
            mesh, sums = (faces, vertices, attributes), (dvertices[i], dattributes[i])
            interpolate_gradient(view.face, view.points, view.w2c, view.lens, *mesh, *pull, *sums)

        spread(work, len(visible))
        sums = dvertices.sum(0).astype(vertices.dtype), dattributes.sum(0).astype(attributes.dtype)
        return (*map(Tensor.from_numpy, sums), None, None)


class FinishNormals(nn.Cell):
    """Interpolated normals as colours; PyNative."""

    def construct(self, normals: Tensor, visible: Sequence[Visible]) -> Tensor:
        """(M, H, W, 3) of any length -> (M, 3, H, W), -1..1 as 0..1, 0 where a pixel sees nothing."""
        from openlrm.geometry.surface_kernels import finish_normals

        normals = float_array(normals)
        out = np.empty((len(normals), 3, *normals.shape[1:3]), normals.dtype)
        spread(lambda i: finish_normals(visible[i].face, normals[i], out[i]), len(visible))
        return Tensor.from_numpy(out)

    def bprop(self, normals, visible, out, dout) -> tuple:
        """Gradient of the normals."""
        from openlrm.geometry.surface_kernels import finish_normals_gradient

        normals, pull = float_array(normals), float_array(dout)
        dnormals = np.empty_like(normals)
        spread(lambda i: finish_normals_gradient(visible[i].face, normals[i], pull[i], dnormals[i]), len(visible))
        return Tensor.from_numpy(dnormals), None


class Antialias(nn.Cell):
    """Blend pixels at silhouettes by the area on each side, with the gradient of the silhouette's ends; PyNative."""

    def construct(self, mask, normal, vertices, edges, visible, pairs) -> tuple:
        """Masks (M, H, W, 1) and normals (M, H, W, 3), both blended at the pairs of `_find_pairs` of each view."""
        from openlrm.geometry.antialias_kernels import blend

        images = [float_array(image) for image in (mask, normal)]
        out = [np.empty_like(image) for image in images]

        def work(i: int) -> None:
            for image, target in zip(images, out, strict=True):
                blend(image[i], *pairs[i], target[i])

        spread(work, len(visible))
        return tuple(map(Tensor.from_numpy, out))

    def bprop(self, mask, normal, vertices, edges, visible, pairs, out, dout) -> tuple:
        """Gradients of masks, normals and vertices."""
        from openlrm.geometry.antialias_kernels import blend_gradient
        from openlrm.geometry.surface_kernels import turn_back

        images, pulls = ([float_array(image) for image in both] for both in ((mask, normal), dout))
        dimages, dvertices = [np.empty_like(image) for image in images], np.zeros((len(visible), *vertices.shape))

        def work(i: int) -> None:
            view, dpoints = visible[i], np.zeros(visible[i].points.shape)
            ends = (edges.ends, view.points, view.screen, view.lens)
            for image, pull, dimage in zip(images, pulls, dimages, strict=True):
                blend_gradient(image[i], *pairs[i], *ends, pull[i], dimage[i], dpoints)
            turn_back(dpoints, view.w2c, dvertices[i])

        spread(work, len(visible))
        dvertices = dvertices.sum(0).astype(float_array(vertices).dtype)
        return (*map(Tensor.from_numpy, (*dimages, dvertices)), None, None, None)


def _find_pairs(edges: EdgeFaces, view: Visible, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges and places of `antialias_kernels.find_pairs`."""
    from openlrm.geometry.antialias_kernels import find_pairs

    pairs, places = np.empty(2 * view.face.size, np.int32), np.empty(2 * view.face.size)
    find_pairs(
        edges.ends,
        edges.firsts,
        edges.opposites,
        view.points,
        view.screen,
        view.lens,
        near,
        view.face,
        view.depth,
        pairs,
        places,
    )
    return pairs, places


@cache
def _cells() -> tuple[VertexNormals, Interpolate, FinishNormals, Antialias]:
    """Made when first used: nothing of MindSpore may be there before a run has set up its workers."""
    return VertexNormals(), Interpolate(), FinishNormals(), Antialias()


def vertex_normals(vertices: Tensor, faces: np.ndarray) -> Tensor:
    """Unit normals of vertices (V, 3), means over their faces (F, 3) by area; see `VertexNormals`."""
    return _cells()[0](vertices, faces)
