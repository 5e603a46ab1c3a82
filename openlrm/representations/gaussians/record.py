"""A set of 3D Gaussians as named arrays, and what can be done to it as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from openlrm.cameras import Camera
from openlrm.errors import UserError
from openlrm.representations.gaussians.quaternions import from_matrix, multiply

_WIDTHS = {"means": 3, "scales": 3, "rotations": 4, "opacities": 1, "colors": 3}


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians with their activations applied.

    Attributes:
        means: (N, 3) float32, positions in the world.
        scales: (N, 3), standard deviations along their own axes, in world units, at least 0.
        rotations: (N, 4), unit quaternions w, x, y, z from their own axes to the world's.
        opacities: (N, 1) in [0, 1].
        colors: (N, 3) sRGB in [0, 1].

    Raises:
        UserError: arrays of other shapes.
    """

    means: np.ndarray
    scales: np.ndarray
    rotations: np.ndarray
    opacities: np.ndarray
    colors: np.ndarray

    def __post_init__(self) -> None:
        """Bring the arrays to float32."""
        count = len(np.atleast_1d(self.means))
        for name, width in _WIDTHS.items():
            array = np.ascontiguousarray(getattr(self, name), np.float32)
            if array.shape != (count, width):
                raise UserError(f"{name} of Gaussians have shape {array.shape}", hint=f"expected ({count}, {width})")
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.means)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Means, scales, rotations, opacities and colors, as the rasteriser takes them."""
        return tuple(getattr(self, name) for name in _WIDTHS)

    @classmethod
    def joined(cls, *parts: Gaussians) -> Gaussians:
        """Several sets as one, in their order."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*(part.arrays() for part in parts), strict=True)))

    def kept(self, which: np.ndarray) -> Gaussians:
        """Those that a mask (N,) or indices name."""
        return Gaussians(*(array[which] for array in self.arrays()))

    def moved(self, offset: ArrayLike) -> Gaussians:
        """All means moved by an offset (3,)."""
        return Gaussians(self.means + np.asarray(offset, np.float32), *self.arrays()[1:])

    def scaled(self, factor: float) -> Gaussians:
        """The whole made larger about the origin; positions and sizes alike.

        Raises:
            UserError: a factor that is not positive.
        """
        if not factor > 0:
            raise UserError(f"Gaussians cannot be scaled by {factor}", hint="give a factor above 0")
        return Gaussians(self.means * np.float32(factor), self.scales * np.float32(factor), *self.arrays()[2:])

    def turned(self, matrix: ArrayLike) -> Gaussians:
        """The whole turned about the origin by a rotation matrix (3, 3).

        Raises:
            UserError: a matrix that scales, shears or mirrors.
        """
        matrix = np.asarray(matrix, np.float64)
        if matrix.shape != (3, 3) or np.abs(matrix @ matrix.T - np.eye(3)).max() > 1e-4 or np.linalg.det(matrix) < 0:
            raise UserError("Gaussians are turned by a rotation matrix only", hint="use moved and scaled for the rest")
        rotations = multiply(from_matrix(matrix), self.rotations)
        return Gaussians(self.means @ matrix.T, self.scales, rotations, self.opacities, self.colors)

    def render(
        self, camera: Camera, size: tuple[int, int], background: ArrayLike = (1.0, 1.0, 1.0)
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A picture by the compiled loops.

        Args:
            camera: of batch shape ().
            size: (H, W) pixels.
            background: (3,), the colour behind all.

        Returns:
            rgb (3, H, W) in [0, 1], depth (1, H, W) as the sum of weights times depths along the camera's axis, alpha
            (1, H, W).

        Raises:
            UserError: a number that is not finite; it names the Gaussian.
        """
        from openlrm.ops.host.splatting import render

        return render(*self.arrays(), camera.c2w, camera.intrinsics, size, background)

    def orbit(self, cameras: Camera, size: tuple[int, int], background: ArrayLike = (1.0, 1.0, 1.0)) -> Iterator:
        """`render` for each of several cameras (M,), one after the other."""
        return (self.render(cameras[i], size, background) for i in range(len(cameras)))
