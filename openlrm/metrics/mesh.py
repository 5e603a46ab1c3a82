"""Distance of two surfaces, from points sampled on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_FLAT = 1e-6  # height of a triangle over its longest side, below which it has no area in single precision


@dataclass(frozen=True)
class MeshScores:
    """How near two surfaces are.

    Attributes:
        accuracy: mean distance from the prediction to the truth, in the unit of the vertices.
        completeness: mean distance from the truth to the prediction.
        chamfer: mean of the two (Chamfer-L1 of Mescheder et al., Occupancy Networks, 2019).
        f_scores: threshold -> harmonic mean of the share of the prediction's points nearer to the truth than the
            threshold and the share of the truth's points nearer to the prediction (Knapitsch et al., 2017).
    """

    accuracy: float
    completeness: float
    chamfer: float
    f_scores: dict[float, float]


def compare_meshes(
    prediction: tuple[np.ndarray, np.ndarray],
    truth: tuple[np.ndarray, np.ndarray],
    thresholds: Sequence[float] = (0.1,),
    points: int = 30_000,
    seed: int = 0,
) -> MeshScores:
    """Compare two meshes as they lie; see `fit_to_cube` to align their scales first.

    Args:
        prediction: vertices (V, 3) and faces (F, 3).
        truth: the same.
        thresholds: of the F-score, in the unit of the vertices.
        points: how many are sampled on each surface.
        seed: of the samples. The mean spacing of the points is what is left of the distance of equal surfaces.

    Raises:
        ValueError: a mesh without area.
    """
    rng = np.random.default_rng(seed)
    ours, theirs = (sample_surface(vertices, faces, points, rng) for vertices, faces in (prediction, truth))
    return score_points(ours, theirs, thresholds)


def score_points(ours: np.ndarray, theirs: np.ndarray, thresholds: Sequence[float] = (0.1,)) -> MeshScores:
    """Compare two clouds (P, 3) and (Q, 3) as they lie, the second being the truth; see `compare_meshes`."""
    from scipy.spatial import cKDTree

    to_truth, to_prediction = cKDTree(theirs).query(ours)[0], cKDTree(ours).query(theirs)[0]
    accuracy, completeness = float(to_truth.mean()), float(to_prediction.mean())
    f_scores = {}
    for threshold in thresholds:
        precision, recall = np.mean(to_truth < threshold), np.mean(to_prediction < threshold)
        f_scores[threshold] = float(2 * precision * recall / max(precision + recall, 1e-12))
    return MeshScores(accuracy, completeness, (accuracy + completeness) / 2, f_scores)


def sample_surface(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw points spread evenly over the area of a mesh.

    Args:
        vertices: (V, 3).
        faces: (F, 3) indices.
        count: number of points.
        rng: its state decides which.

    Returns:
        (count, 3) float64.

    Raises:
        ValueError: no area.

    Source: Osada et al., Shape distributions, 2002, section 4.1.
    """
    corners = np.asarray(vertices, np.float64)[np.asarray(faces)]
    a, b, c = corners.transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    if not areas.sum() > 0:
        raise ValueError("the mesh has no area")
    chosen = rng.choice(len(areas), count, p=areas / areas.sum())
    root, along = np.sqrt(rng.random((count, 1))), rng.random((count, 1))
    return (1 - root) * a[chosen] + root * (1 - along) * b[chosen] + root * along * c[chosen]


def fit_to_cube(vertices: np.ndarray, faces: np.ndarray | None = None) -> np.ndarray:
    """Centre the bounding box of a mesh at the origin and scale its longest side to 2.

    Convention: reconstructions from one picture know no absolute scale, so both meshes are put into [-1, 1]^3
    before they are compared. Box from (1, 1, 1) to (2, 3, 5): centre (1.5, 2, 3), factor 2 / 4. The box is that of
    what is to be seen: of the faces that have an area.

    Args:
        vertices: (V, 3).
        faces: (F, 3) indices; without them the box is that of all vertices.

    Returns:
        (V, 3) vertices, those outside the box as well.

    Raises:
        ValueError: no face with an area, or vertices that coincide.
    """
    seen = vertices if faces is None else vertices[np.unique(faces[_have_area(vertices, faces)])]
    if not len(seen):
        raise ValueError("the mesh has no area")
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = (high - low).max()
    if not side > 0:
        raise ValueError("the mesh has no extent")
    return (vertices - (low + high) / 2) * (2 / side)


def _have_area(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Whether faces have an area: a height of more than what rounding leaves of none, (F,) bool."""
    a, b, c = np.asarray(vertices, np.float64)[np.asarray(faces)].transpose(1, 0, 2)
    longest = np.max([((b - a) ** 2).sum(1), ((c - b) ** 2).sum(1), ((a - c) ** 2).sum(1)], axis=0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) > _FLAT * longest
