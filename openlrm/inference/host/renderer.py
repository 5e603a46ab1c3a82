"""The volume renderer of openlrm.models.rendering for inference on a CPU, numpy in and out."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

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
        # Importing numba takes a third of a second, which a run without rendering should not pay.
        from openlrm.inference.host import kernels

        self._kernels = kernels
        self._samples = samples_per_ray // 2
        self._field = _lay_out(planes, decoder, kernels)

    def render(self, camera: np.ndarray, size: int, background: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Render a frame.

        Args:
            camera: (25,), see `openlrm.cameras.build_render_camera`.
            size: side of the frame in pixels.
            background: grey level behind the object.

        Returns:
            float32 colour (size, size, 3), not clipped; distance from the camera centre (size, size), the farthest
            coarse sample of the frame where there is no weight; total weight (size, size).
        """
        camera, grey = np.ascontiguousarray(camera, np.float32), np.float32(background)
        missed = self._kernels.frame_span(camera, size)
        rgb, bounds = np.empty((size, size, 3), np.float32), np.empty((size, 2), np.float32)
        depth, mask = np.empty((size, size), np.float32), np.empty((size, size), np.float32)

        def render_rows(first: int, last: int) -> None:
            self._kernels.render_rows(
                self._field, camera, (first, last), missed, self._samples, grey, rgb, depth, mask, bounds
            )

        self._spread(render_rows, size, max(1, _TASK_PIXELS // size))
        return rgb, np.clip(depth, bounds[:, 0].min(), bounds[:, 1].max()), mask

    def evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Density (P,) and colour (P, 3) at points (P, 3); plane features are zero outside [-1, 1]^3."""
        return self._ask(points, np.empty((len(points), 3), np.float32))

    def density(self, points: np.ndarray) -> np.ndarray:
        """Density (P,) alone at points (P, 3)."""
        return self._ask(points, np.empty((0, 3), np.float32))[0]

    def _ask(self, points: np.ndarray, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = np.ascontiguousarray(points, np.float32)
        density = np.empty(len(points), np.float32)

        def evaluate(first: int, last: int) -> None:
            self._kernels.evaluate_points(self._field, points[first:last], density[first:last], rgb[first:last])

        self._spread(evaluate, len(points), _TASK_POINTS)
        return density, rgb

    def _spread(self, work: Callable[[int, int], None], count: int, step: int) -> None:
        """Call work(first, last) over range(count), `step` at a time, on threads that take what comes next."""
        starts = range(0, count, step)
        with ThreadPoolExecutor(self._kernels.THREADS) as pool:
            list(pool.map(work, starts, [min(start + step, count) for start in starts]))


def _lay_out(planes: np.ndarray, decoder: dict[str, np.ndarray], kernels):
    """Fold the decoder's first layer into the planes: bilinear sampling is linear, so the two commute."""
    _, channels, height, width = planes.shape
    first = decoder["net.0.weight"]
    expected = (kernels.HIDDEN, 3 * channels)
    if height != width or first.shape != expected:
        raise ValueError(f"planes {planes.shape} do not fit a first layer {first.shape}, expected {expected}")
    # (3, H, H, C) x (3, C, HIDDEN), plane by plane.
    per_plane = first.reshape(kernels.HIDDEN, 3, channels).transpose(1, 2, 0)
    folded = planes.transpose(0, 2, 3, 1).reshape(3, -1, channels) @ per_plane
    table = np.pad(folded.reshape(3, height, width, -1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    arrays = [
        table.reshape(-1),
        decoder["net.0.bias"],
        decoder["net.2.weight"].T.reshape(-1),
        decoder["net.2.bias"],
        decoder["net.4.weight"].T.reshape(-1),
        decoder["net.4.bias"],
        decoder["net.6.weight"],
        decoder["net.6.bias"],
    ]
    return kernels.Field(height + 2, *map(_aligned, arrays))


def _aligned(array: np.ndarray) -> np.ndarray:
    """Float32 copy that begins at a cache line: no load of 16 numbers then straddles two (6 % of a frame)."""
    line = 64
    room = np.empty(4 * array.size + line, np.uint8)
    start = -room.ctypes.data % line
    copy = room[start : start + 4 * array.size].view(np.float32).reshape(array.shape)
    copy[...] = array
    return copy
