"""The volume renderer of openlrm.representations.triplane for inference on a CPU, numpy in and out."""

from __future__ import annotations

import numpy as np

from openlrm.cameras import Camera
from openlrm.representations.triplane.host.field import Field, lay_out
from openlrm.representations.triplane.host.occupancy import find_occupied
from openlrm.utils.threads import spread_ranges

# Points and pixels of one task: some milliseconds, so that threads finish together and handing out costs nothing.
_TASK_POINTS = 16384
_TASK_PIXELS = 512


class HostRenderer:
    """Renders one object's triplane with compiled loops on all cores.

    Samples are placed as `TriplaneSynthesizer` places them in inference: nothing is random. A machine's first
    call compiles the loops; later processes read them from numba's cache. NUMBA_NUM_THREADS sets the threads.

    Args:
        planes: (3, C, H, H) float32.
        decoder: weights of the field's decoder, net.{0,2,4,6}.weight (out, in) and .bias (out,).
        samples_per_ray: samples of both passes together, half each; even, at least 8.
    """

    def __init__(self, planes: np.ndarray, decoder: dict[str, np.ndarray], samples_per_ray: int):
        samples = samples_per_ray // 2
        self._noise = np.full(samples, 0.5, np.float32)
        self._u = ((np.arange(samples) + 0.5) / samples).astype(np.float32)
        self._field = lay_out(planes, decoder)

    def skip_empty(self) -> None:
        """From now on leave out what is empty: find out where, which takes as long as a frame of 192 x 192.

        Pixels then differ by what is left out, see `openlrm.representations.triplane.host.occupancy`.
        """
        if self._field.occupied.size == 1:
            self._field = self._field._replace(occupied=find_occupied(self.density))

    def render(self, camera: Camera, size: int, background: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Render a frame.

        Args:
            camera: ().
            size: side of the frame in pixels.
            background: grey level behind the object.

        Returns:
            float32 colour (size, size, 3), not clipped; distance from the camera centre (size, size), where there is
            no weight the last coarse sample of the ray; total weight (size, size).
        """
        from openlrm.representations.triplane.host.render import render_rows

        pose, lens, grey = np.ascontiguousarray(camera.c2w), tuple(camera.intrinsics), np.float32(background)
        rgb = np.empty((size, size, 3), np.float32)
        depth, mask = np.empty((size, size), np.float32), np.empty((size, size), np.float32)

        def render(first: int, last: int) -> None:
            render_rows(self._field, pose, lens, (first, last), self._noise, self._u, grey, rgb, depth, mask)

        spread_ranges(render, size, max(1, _TASK_PIXELS // size))
        return rgb, depth, mask

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density (P,) and colour (P, 3) at points (P, 3); plane features are zero outside [-1, 1]^3."""
        return self._ask(points, np.empty((len(points), 3), np.float32))

    def density(self, points: np.ndarray) -> np.ndarray:
        """Density (P,) alone at points (P, 3)."""
        return self._ask(points, np.empty((0, 3), np.float32))[0]

    def _ask(self, points: np.ndarray, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        density = np.empty(len(points), np.float32)
        evaluate_field(self._field, np.ascontiguousarray(points, np.float32), density, rgb)
        return density, rgb


def evaluate_field(field: Field, points: np.ndarray, density: np.ndarray, rgb: np.ndarray) -> None:
    """Ask a field on all cores.

    Args:
        field: of `lay_out`.
        points: (P, 3) float32, contiguous.
        density: (P,) float32, filled.
        rgb: (P, 3) float32, filled; or (0, 3): no colours.
    """
    from openlrm.representations.triplane.host.decoder import evaluate_points

    def evaluate(first: int, last: int) -> None:
        evaluate_points(field, points[first:last], density[first:last], rgb[first:last])

    spread_ranges(evaluate, len(points), _TASK_POINTS)
