"""A reconstructed object: its triplane and the renderer that reads it, asked from numpy."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from mindspore import Tensor

from openlrm.inference.mesh import Mesh, extract_mesh
from openlrm.models.rendering import TriplaneSynthesizer

# Side of the squares a frame is rendered in. One shape serves every frame size and view, so graph mode compiles
# once, and the samples of a square (64^2 rays x 96) stay small whatever the frame.
TILE = 64
# Points of one call when a mesh is made.
_POINTS = 1 << 17


class View(NamedTuple):
    """A rendered picture.

    Attributes:
        rgb: (H, W, 3) float32 in [0, 1].
        depth: (H, W) float32, distance from the camera centre in world units.
        mask: (H, W) float32 in [0, 1], opacity.
    """

    rgb: np.ndarray
    depth: np.ndarray
    mask: np.ndarray


class Scene:
    """Triplane of one object with its renderer.

    Args:
        planes: (1, 3, C, H, W).
        synthesizer: the renderer it was made for.
    """

    def __init__(self, planes: Tensor, synthesizer: TriplaneSynthesizer):
        self.planes = planes
        self.synthesizer = synthesizer
        synthesizer.set_train(False)

    def views(self, cameras: np.ndarray, size: int, background: float = 1.0, batch: int = 1) -> Iterator[View]:
        """Render views one after the other.

        Args:
            cameras: (M, 25), see `openlrm.cameras.build_render_camera`.
            size: side of a frame in pixels.
            background: grey level behind the object, in [0, 1].
            batch: views rendered in one call.
        """
        for start in range(0, len(cameras), batch):
            part = cameras[start : start + batch]
            # The last call repeats a camera rather than change its shape.
            padded = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            yield from self._render(padded.astype(np.float32), size, background)[: len(part)]

    def mesh(self, size: int = 384, threshold: float = 3.0, progress=None) -> Mesh:
        """Marching cubes on the density; see `extract_mesh`."""
        return extract_mesh(self._density, self._color, size, threshold, chunk=_POINTS, progress=progress)

    def _render(self, cameras: np.ndarray, size: int, background: float) -> list[View]:
        count = len(cameras)
        tile = min(TILE, size)
        corners = [min(start, size - tile) for start in range(0, size, tile)]
        rgb = np.empty((count, size, size, 3), np.float32)
        depth, mask = np.empty((count, size, size), np.float32), np.empty((count, size, size), np.float32)
        batch = [
            Tensor(cameras[None]),
            Tensor(np.full((1, count, 1), size, np.float32)),
            Tensor(np.full((1, count, 1), background, np.float32)),
        ]
        for row in corners:
            for column in corners:
                anchors = np.tile(np.array([row, column], np.float32), (1, count, 1))
                out = self.synthesizer(self.planes, batch[0], Tensor(anchors), batch[1], batch[2], tile)
                at = np.s_[:, row : row + tile, column : column + tile]
                rgb[at] = out["images_rgb"].asnumpy()[0].transpose(0, 2, 3, 1)
                depth[at] = out["images_depth"].asnumpy()[0, :, 0]
                mask[at] = out["images_weight"].asnumpy()[0, :, 0]
        # Where nothing is hit the renderer gives the farthest sample of the call, which was a tile; of the frame here.
        depth[mask == 0] = depth.max()
        return [View(np.clip(rgb[i], 0, 1), depth[i], mask[i]) for i in range(count)]

    def _density(self, points: np.ndarray) -> np.ndarray:
        return self._ask(points)["sigma"].asnumpy()[0, : len(points), 0]

    def _color(self, points: np.ndarray) -> np.ndarray:
        return self._ask(points)["rgb"].asnumpy()[0, : len(points)]

    def _ask(self, points: np.ndarray) -> dict:
        missing = _POINTS - len(points)
        padded = np.concatenate([points, np.zeros((missing, 3), np.float32)]) if missing else points
        return self.synthesizer.forward_points(self.planes, Tensor(padded[None]))


def normalise_depth(depth: np.ndarray, near: float, far: float) -> np.ndarray:
    """Depth as a grey picture: 1 at `near`, 0 at `far`, clipped; any shape."""
    return np.clip((far - depth) / (far - near), 0, 1)
