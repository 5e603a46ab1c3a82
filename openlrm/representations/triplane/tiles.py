"""The MindSpore renderer asked from numpy: in pieces of one shape, whatever is asked for."""

from collections.abc import Iterator

import numpy as np
from mindspore import Tensor

from openlrm.cameras import Camera
from openlrm.ops import inference_state
from openlrm.representations.triplane.synthesizer import TriplaneSynthesizer

# Side of the squares a frame is rendered in. One shape serves every frame size and view, so graph mode compiles
# once, and the samples of a square (64^2 rays x 96) stay small whatever the frame.
TILE = 64
# Points of one call.
POINTS = 1 << 17


class TileRenderer:
    """Renders one object's triplane on the device MindSpore runs on.

    Args:
        planes: (1, 3, C, H, W).
        synthesizer: the renderer they were made for; what it renders is in inference state, whatever its own.
    """

    def __init__(self, planes: Tensor, synthesizer: TriplaneSynthesizer):
        self._planes = planes
        self._synthesizer = synthesizer

    def frames(
        self, cameras: Camera, size: int, background: float, batch: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Render views (M,), `batch` in one call.

        Yields:
            float32 colour (size, size, 3), not clipped; depth (size, size), where there is no weight the last coarse
            sample of the ray; total weight (size, size).
        """
        records = cameras.render_record()
        for start in range(0, len(records), batch):
            part = records[start : start + batch]
            # The last call repeats a camera rather than change its shape.
            padded = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            with inference_state(self._synthesizer):
                frames = self._render(padded, size, background)
            yield from list(zip(*frames, strict=True))[: len(part)]

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density (P,) and colour (P, 3) at points (P, 3)."""
        parts = [self._ask(points[start : start + POINTS]) for start in range(0, max(len(points), 1), POINTS)]
        density, rgb = map(np.concatenate, zip(*parts, strict=True))
        return density, rgb

    def density(self, points: np.ndarray) -> np.ndarray:
        """Density (P,) alone."""
        return self.evaluate(points)[0]

    def _ask(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        missing = POINTS - len(points)
        padded = np.concatenate([points, np.zeros((missing, 3), np.float32)]) if missing else points
        with inference_state(self._synthesizer):
            out = self._synthesizer.forward_points(self._planes, Tensor(padded[None]))
        return out["sigma"].asnumpy()[0, : len(points), 0], out["rgb"].asnumpy()[0, : len(points)]

    def _render(self, cameras: np.ndarray, size: int, background: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
                out = self._synthesizer(self._planes, batch[0], Tensor(anchors), batch[1], batch[2], tile)
                at = np.s_[:, row : row + tile, column : column + tile]
                rgb[at] = out["images_rgb"].asnumpy()[0].transpose(0, 2, 3, 1)
                depth[at] = out["images_depth"].asnumpy()[0, :, 0]
                mask[at] = out["images_weight"].asnumpy()[0, :, 0]
        return rgb, depth, mask
