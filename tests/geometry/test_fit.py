"""A surface found from pictures alone."""

import numpy as np
import pytest
import trimesh

from openlrm.errors import UserError
from openlrm.geometry import FitOptions, SurfacePictures, fit_surface
from openlrm.geometry.shapes import SOLIDS, tilted


@pytest.fixture
def cube_pictures(around, lens) -> SurfacePictures:
    """A tilted cube of side 1; each face has its own corners, so that normals do not round it."""
    corners = trimesh.creation.box((1, 1, 1)).triangles @ tilted().T
    faces = np.arange(36).reshape(12, 3)
    return SurfacePictures.of_mesh(corners.reshape(-1, 3), faces, around(12, 4.0), lens(30), (32, 32))


def test_a_ball_becomes_the_cube_of_the_pictures(cube_pictures):
    """Small and short; 32 cubes a side and 250 steps come within 0.1 % of the volume."""
    options = FitOptions(resolution=16, steps=60, views=4)
    losses = []
    found = fit_surface(cube_pictures, options, lambda _, loss: losses.append(loss))
    mesh = trimesh.Trimesh(found.vertices.asnumpy(), found.faces)
    distance = np.abs(SOLIDS["tilted cube"].distance(mesh.vertices))
    assert mesh.is_watertight and mesh.euler_number == 2
    assert mesh.volume == pytest.approx(1, abs=0.03)
    assert distance.mean() < 0.012
    assert len(losses) == 60 and losses[-1] < losses[0] / 5
    again = fit_surface(cube_pictures, FitOptions(resolution=16, steps=3, views=4))
    once_more = fit_surface(cube_pictures, FitOptions(resolution=16, steps=3, views=4))
    np.testing.assert_array_equal(again.vertices.asnumpy(), once_more.vertices.asnumpy())


def test_more_views_than_there_are_is_refused(cube_pictures):
    with pytest.raises(UserError, match="views=99 of 12"):
        fit_surface(cube_pictures, FitOptions(views=99))
