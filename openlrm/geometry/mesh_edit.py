"""Changes to a mesh's surface: smoothing, decimation and the removal of what folded."""

from __future__ import annotations

import numpy as np

# Taubin, "A signal processing approach to fair surface design" (1995): a step inwards, then a slightly longer one
# outwards. Together they keep what is below 1/0.5 - 1/0.53 = 0.11 of the Laplacian's range.
_INWARDS, _OUTWARDS = np.float32(0.5), np.float32(-0.53)


def smooth(vertices: np.ndarray, faces: np.ndarray, rounds: int) -> np.ndarray:
    """Smooth a surface by Taubin's method: stairs go, the volume stays.

    Args:
        vertices: (V, 3) float32 in [-1, 1], each used by a face.
        faces: (F, 3), closed.
        rounds: of two steps each; 0 changes nothing.

    Returns:
        (V, 3) float32 in [-1, 1].
    """
    if not rounds:
        return vertices
    from scipy.sparse import csr_matrix

    # On a closed surface each edge is there once in each direction.
    ends = faces.T.reshape(-1), np.roll(faces, -1, axis=1).T.reshape(-1)
    edges = csr_matrix((np.ones(len(ends[0]), np.float32), ends), shape=(len(vertices),) * 2)
    valence = np.bincount(ends[0], minlength=len(vertices)).astype(np.float32)[:, None]
    for _ in range(rounds):
        for step in (_INWARDS, _OUTWARDS):
            vertices = vertices + step * (edges @ vertices / valence - vertices)
    return np.clip(vertices, -1, 1)


def decimate(vertices: np.ndarray, faces: np.ndarray, target: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Merge edges until few faces are left, those first that move the surface least (quadric error).

    Args:
        vertices: (V, 3) float32 in [-1, 1].
        faces: (F, 3) int32.
        target: faces to keep; a mesh that has no more comes back as it is, and so does any with None.

    Returns:
        Vertices (V', 3) float32 in [-1, 1] and faces (F', 3) int32.
    """
    if target is None or len(faces) <= target:
        return vertices, faces
    from fast_simplification import simplify

    vertices, faces = simplify(vertices, faces, target_count=target)
    faces = faces.astype(np.int32)
    # Parts that became as thin as a sheet have two faces back to back.
    return compact(np.clip(vertices.astype(np.float32), -1, 1), drop_folds(faces, np.arange(len(faces))))


def drop_folds(faces: np.ndarray, suspects: np.ndarray) -> np.ndarray:
    """Drop faces that have the same three vertices as another, which lie back to back.

    Args:
        faces: (F, 3), none repeats a vertex.
        suspects: indices of the faces to look at.
    """
    _, group, count = np.unique(np.sort(faces[suspects], axis=1), axis=0, return_inverse=True, return_counts=True)
    keep = np.ones(len(faces), bool)
    keep[suspects[count[group.reshape(-1)] > 1]] = False
    return faces[keep]


def compact(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop the vertices that no face uses."""
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    number = np.cumsum(used, dtype=np.int32) - 1
    return vertices[used], number[faces]
