"""One camera or many: where they stand and what their lenses are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from openlrm.cameras.conventions import DEFAULT_DISTANCE, DEFAULT_INTRINSICS, real_array, to_homogeneous
from openlrm.cameras.normalize import normalize_poses
from openlrm.cameras.poses import default_source_pose
from openlrm.cameras.projection import project
from openlrm.errors import UserError

# OpenCV's camera axes from OpenGL's, and back: +Y down, +Z forward.
_FLIP_YZ = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Camera:
    """Cameras of any batch shape (...), in the conventions of `openlrm.cameras.conventions`.

    Poses and lenses are broadcast against each other.

    Attributes:
        c2w: (..., 3, 4) float32 camera-to-world, OpenGL axes (looks along -Z, +Y up).
        intrinsics: (..., 4) float32 fx, fy, cx, cy over the image's width and height.

    Raises:
        UserError: arrays of another shape.

    Example:
        >>> Camera.canonical(2.0).centers.tolist()
        [0.0, -2.0, 0.0]
    """

    c2w: np.ndarray
    intrinsics: np.ndarray = DEFAULT_INTRINSICS  # type: ignore[assignment] - an array after __post_init__

    def __post_init__(self) -> None:
        """Bring both arrays to one batch shape."""
        c2w, intrinsics = np.asarray(self.c2w), np.asarray(self.intrinsics)
        if c2w.shape[-2:] not in ((3, 4), (4, 4)):
            raise UserError(f"poses have shape {c2w.shape}", hint="expected (..., 3, 4) or (..., 4, 4) camera-to-world")
        if intrinsics.shape[-1:] != (4,):
            raise UserError(f"intrinsics have shape {intrinsics.shape}", hint="expected (..., 4): fx, fy, cx, cy")
        batch = np.broadcast_shapes(c2w.shape[:-2], intrinsics.shape[:-1])
        object.__setattr__(self, "c2w", np.broadcast_to(c2w[..., :3, :], (*batch, 3, 4)).astype(np.float32))
        object.__setattr__(self, "intrinsics", np.broadcast_to(intrinsics, (*batch, 4)).astype(np.float32))

    # From other forms.

    @classmethod
    def canonical(cls, distance: float = DEFAULT_DISTANCE, intrinsics: ArrayLike = DEFAULT_INTRINSICS) -> Camera:
        """The default source camera, batch shape (): at (0, -distance, 0), looking along +Y, up +Z."""
        return cls(default_source_pose(distance), intrinsics)

    @classmethod
    def from_source_record(cls, record: ArrayLike) -> Camera:
        """From (..., 16): 3x4 camera-to-world row-major, then fx, fy, cx, cy; see `source_record`."""
        record = _last_axis(record, 16)
        return cls(record[..., :12].reshape(*record.shape[:-1], 3, 4), record[..., 12:])

    @classmethod
    def from_render_record(cls, record: ArrayLike) -> Camera:
        """From (..., 25): 4x4 camera-to-world, then the 3x3 intrinsics, both row-major; see `render_record`."""
        record = _last_axis(record, 25)
        matrix = record[..., 16:].reshape(*record.shape[:-1], 3, 3)
        return cls(record[..., :16].reshape(*record.shape[:-1], 4, 4), _from_matrix(matrix))

    @classmethod
    def from_opencv(cls, c2w: ArrayLike, intrinsics: ArrayLike = DEFAULT_INTRINSICS) -> Camera:
        """From camera-to-world poses in OpenCV's and COLMAP's axes: +X right, +Y down, +Z forward."""
        c2w = np.array(c2w, np.float64)
        c2w[..., :3, :3] *= _FLIP_YZ
        return cls(c2w, intrinsics)

    @classmethod
    def from_w2c(cls, w2c: ArrayLike, intrinsics: ArrayLike = DEFAULT_INTRINSICS, opencv: bool = True) -> Camera:
        """From world-to-camera matrices (..., 3, 4) or (..., 4, 4), OpenCV's axes or else OpenGL's.

        Raises:
            UserError: a matrix without an inverse.
        """
        try:
            c2w = np.linalg.inv(to_homogeneous(w2c))
        except np.linalg.LinAlgError as error:
            raise UserError("a world-to-camera matrix has no inverse") from error
        return cls.from_opencv(c2w, intrinsics) if opencv else cls(c2w, intrinsics)

    @classmethod
    def from_pixels(cls, c2w: ArrayLike, matrix: ArrayLike, width: ArrayLike, height: ArrayLike) -> Camera:
        """From poses in OpenGL's axes and intrinsics in pixels.

        Args:
            c2w: (..., 3, 4) or (..., 4, 4).
            matrix: (..., 3, 3) [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] in pixels.
            width: (...) of the images in pixels.
            height: (...) likewise.

        Raises:
            UserError: a skew, or numbers that are not finite.
        """
        matrix = real_array(matrix, "intrinsics")
        if np.abs(matrix[..., 0, 1]).max(initial=0) > 1e-6 * np.abs(matrix).max(initial=1):
            raise UserError("the intrinsics have a skew", hint="undistort the pictures first")
        sides = np.stack(np.broadcast_arrays(width, height, width, height), axis=-1)
        return cls(c2w, _from_matrix(matrix) / sides)

    @classmethod
    def stack(cls, cameras: Sequence[Camera]) -> Camera:
        """Several of one batch shape with a new axis in front."""
        return cls(np.stack([c.c2w for c in cameras]), np.stack([c.intrinsics for c in cameras]))

    # To other forms.

    def source_record(self) -> np.ndarray:
        """(..., 16) float32, what camera embedders take: 3x4 camera-to-world row-major, then fx, fy, cx, cy."""
        return np.concatenate([self.c2w.reshape(*self.shape, 12), self.intrinsics], axis=-1)

    def render_record(self) -> np.ndarray:
        """(..., 25) float32, what renderers take: 4x4 camera-to-world, then [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]."""
        poses = to_homogeneous(self.c2w).astype(np.float32).reshape(*self.shape, 16)
        return np.concatenate([poses, self.matrix().reshape(*self.shape, 9)], axis=-1)

    def matrix(self, width: float = 1.0, height: float = 1.0) -> np.ndarray:
        """(..., 3, 3) intrinsics, in pixels of an image of that size; normalised without one."""
        out = np.zeros((*self.shape, 3, 3), np.float32)
        fx, fy, cx, cy = np.moveaxis(self.intrinsics, -1, 0)
        out[..., 0, 0], out[..., 0, 2] = fx * width, cx * width
        out[..., 1, 1], out[..., 1, 2] = fy * height, cy * height
        out[..., 2, 2] = 1
        return out

    def opencv(self) -> np.ndarray:
        """(..., 4, 4) float32 camera-to-world in OpenCV's axes."""
        c2w = to_homogeneous(self.c2w)
        c2w[..., :3, :3] *= _FLIP_YZ
        return c2w.astype(np.float32)

    def w2c(self, opencv: bool = True) -> np.ndarray:
        """(..., 4, 4) float32 world-to-camera, OpenCV's axes or else OpenGL's."""
        c2w = to_homogeneous(self.c2w)
        if opencv:
            c2w[..., :3, :3] *= _FLIP_YZ
        return np.linalg.inv(c2w).astype(np.float32)

    def mvp(self, near: float = 0.1, far: float = 100.0) -> np.ndarray:
        """World to OpenGL's clip space: x right, y up, z from -w at `near` to w at `far`.

        Args:
            near: distance of the nearest plane along the viewing axis, world units.
            far: of the farthest.

        Returns:
            (..., 4, 4) float32, for column vectors.
        """
        fx, fy, cx, cy = np.moveaxis(self.intrinsics.astype(np.float64), -1, 0)
        projection = np.zeros((*self.shape, 4, 4))
        projection[..., 0, 0], projection[..., 0, 2] = 2 * fx, 1 - 2 * cx
        projection[..., 1, 1], projection[..., 1, 2] = 2 * fy, 2 * cy - 1
        projection[..., 2, 2], projection[..., 2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
        projection[..., 3, 2] = -1
        return (projection @ np.linalg.inv(to_homogeneous(self.c2w))).astype(np.float32)

    # What is asked of them.

    @property
    def shape(self) -> tuple[int, ...]:
        """Batch shape."""
        return self.c2w.shape[:-2]

    @property
    def centers(self) -> np.ndarray:
        """(..., 3) where they stand."""
        return self.c2w[..., 3]

    @property
    def rotations(self) -> np.ndarray:
        """(..., 3, 3): columns right, up and backward."""
        return self.c2w[..., :3]

    def project(self, points: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Where world points (..., P, 3) appear: uv (..., P, 2) and depth (..., P); see `openlrm.cameras.project`."""
        return project(points, self.c2w, self.intrinsics)

    def normalized(self, distance: float | str = "auto") -> Camera:
        """Turned together so that the first becomes the canonical one; (M,), see `normalize_poses`."""
        return Camera(normalize_poses(self.c2w, distance), self.intrinsics)

    def __len__(self) -> int:
        """Length of the first batch axis."""
        return len(self.c2w)

    def __getitem__(self, index: Any) -> Camera:
        """Some of them, by numpy's rules on the batch axes."""
        return Camera(self.c2w[_on_batch(index)], self.intrinsics[_on_batch(index)])


def _on_batch(index: Any) -> tuple:
    return (*index, Ellipsis) if isinstance(index, tuple) else (index, Ellipsis)


def _last_axis(record: ArrayLike, length: int) -> np.ndarray:
    record = np.asarray(record)
    if record.shape[-1:] != (length,):
        raise UserError(f"camera records have shape {record.shape}", hint=f"expected (..., {length})")
    return record


def _from_matrix(matrix: np.ndarray) -> np.ndarray:
    """(..., 4) fx, fy, cx, cy of (..., 3, 3)."""
    return np.stack([matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 0, 2], matrix[..., 1, 2]], axis=-1)
