"""Meshes that are turned against each other: the search brings them together, boxes do not."""

import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from openlrm.evaluation.meshes import score_mesh
from openlrm.geometry.mesh import Mesh


def test_a_turned_mesh():
    long = trimesh.creation.box((1.0, 0.3, 0.2))
    side = trimesh.creation.box((0.2, 0.6, 0.2)).apply_translation((0.4, 0.4, 0.0))
    shape = trimesh.util.concatenate([long, side])
    # The axes of the search are the source camera's: right X, up Z, backward -Y; a turn about the last.
    turn = Rotation.from_euler("y", 45, degrees=True).as_matrix()
    truth = (2.5 * shape.vertices @ turn.T - 1, shape.faces)
    ours = Mesh(np.float32(shape.vertices), np.int32(shape.faces))
    searched = score_mesh(ours, truth, np.eye(3), (0.1,), 1500, "search")
    boxed = score_mesh(ours, truth, np.eye(3), (0.1,), 1500)
    spacing = np.sqrt(shape.area / 1500)
    assert searched["chamfer"] < spacing and searched["f_score_0.1"] > 0.99
    assert boxed["chamfer"] > 4 * spacing
