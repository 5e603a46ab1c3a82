"""A decoder asked what it makes of planes: always the same views, always the same samples on the rays."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from openlrm.analysis.transfer import mean_absolute
from openlrm.cameras import Camera
from openlrm.ops import inference_state
from openlrm.representations.triplane import Triplane, TriplaneSynthesizer
from openlrm.training.noise import ray_noise


class Probe:
    """Renders planes (3, C, H, W) from fixed cameras.

    Samples lie at fixed mid-points, so equal planes give equal pictures: the floor of a difference is 0. What random
    samples would add to it, as the study drew them, is `floor`.

    Args:
        synthesizer: the decoder, never changed.
        cameras: (V,).
        size: side of a picture in pixels.
    """

    def __init__(self, synthesizer: TriplaneSynthesizer, cameras: Camera, size: int):
        self.synthesizer, self.cameras, self.size = synthesizer, cameras, size

    def scene(self, planes: np.ndarray) -> Triplane:
        """Planes with the decoder, for its field and its file."""
        return Triplane(Tensor(np.ascontiguousarray(planes[None], np.float32)), self.synthesizer)

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        """Pictures (V, 3, R, R) float32 on white, not clipped."""
        frames = self.scene(planes).frames(self.cameras, self.size)
        return np.stack([rgb.transpose(2, 0, 1) for rgb, _, _ in frames])

    def depth(self, planes: np.ndarray, camera: Camera) -> np.ndarray:
        """Distance along unit rays (R, R) from one camera, infinite where less than half of the ray is stopped."""
        ((_, depth, mask),) = self.scene(planes).frames(camera[None], self.size)
        return np.where(mask > 0.5, depth, np.inf)

    def floor(self, planes: np.ndarray, seed: int) -> float:
        """Mean difference of two renders of equal planes whose samples were drawn anew, of the first view."""
        shown = [self._drawn(planes, seed, draw) for draw in (0, 1)]
        return mean_absolute(shown[1] - shown[0])

    def _drawn(self, planes: np.ndarray, seed: int, draw: int) -> np.ndarray:
        grid = (np.zeros((1, 1, 2)), np.full((1, 1, 1), self.size), np.ones((1, 1, 1)))
        draws = ray_noise(seed, draw, 0, self.size**2, self.synthesizer.samples)
        given = [self.cameras[:1].render_record()[None], *grid]
        inputs = [Tensor(np.ascontiguousarray(array, np.float32)) for array in (planes[None], *given)]
        with inference_state(self.synthesizer):
            shown = self.synthesizer(*inputs, self.size, *map(Tensor, draws))
        return shown["images_rgb"].asnumpy()[0]
