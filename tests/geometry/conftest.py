"""Golden numbers and cameras of the geometry's tests."""

from collections.abc import Callable

import numpy as np
import pytest

from openlrm.cameras import look_at
from openlrm.cameras.conventions import to_homogeneous


@pytest.fixture(autouse=True)
def _device(pynative):
    """Meshes have shapes that depend on the data: PyNative alone."""


@pytest.fixture(scope="session")
def read_cubes() -> Callable:
    """A golden file -> grid -> name -> array, in the shapes of grids."""

    def read(path) -> dict[str, dict[str, np.ndarray]]:
        grids: dict[str, dict[str, np.ndarray]] = {}
        with np.load(path) as arrays:
            for name, array in arrays.items():
                grid, name = name.split("/")
                grids.setdefault(grid, {})[name] = array
        for grid in grids.values():
            points = tuple(grid["res"] + 1)
            grid["sdf"] = grid["sdf"].reshape(points)
            grid["x"] = grid["x"].reshape(*points, 3)
            grid["weights"] = grid["weights"].reshape(*grid["res"], 21)
        return grids

    return read


@pytest.fixture(scope="session")
def cubes_golden(repo, read_cubes) -> dict[str, dict[str, np.ndarray]]:
    return read_cubes(repo / "tests" / "golden" / "instantmesh" / "flexicubes.npz")


@pytest.fixture(scope="session")
def surface_golden(repo) -> dict[str, np.ndarray]:
    with np.load(repo / "tests" / "golden" / "instantmesh" / "surface.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def lens() -> Callable:
    """Field of view in degrees -> fx, fy, cx, cy."""

    def of(fov: float) -> np.ndarray:
        focal = 0.5 / np.tan(np.radians(fov) / 2)
        return np.array([focal, focal, 0.5, 0.5])

    return of


@pytest.fixture(scope="session")
def around() -> Callable:
    """Count, distance -> (count, 4, 4) world to camera, evenly around the origin."""

    def of(count: int, distance: float) -> np.ndarray:
        k = np.arange(count) + 0.5
        height, angle = 1 - 2 * k / count, k * np.pi * (3 - 5**0.5)
        flat = np.sqrt(1 - height**2)
        places = distance * np.stack([np.cos(angle) * flat, np.sin(angle) * flat, height], 1)
        return np.linalg.inv(to_homogeneous(look_at(places)).astype(float))

    return of
