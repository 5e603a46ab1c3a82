"""The golden miniature of both kinds, and the arrays that the published implementation computes with it."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "golden" / "instantmesh"
GRAD = ("grad/", "mesh_grad/")


@pytest.fixture(scope="session")
def folder() -> Path:
    """The golden files."""
    return FOLDER


@pytest.fixture(scope="session")
def arrays() -> dict[str, np.ndarray]:
    """The golden arrays, gradients left out."""
    with np.load(FOLDER / "model.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def gradients(shared_dir) -> dict[str, np.ndarray]:
    """The golden gradients; they lie in the shared folder alone."""
    with np.load(shared_dir / "golden" / "instantmesh" / "golden.npz") as file:
        return {name: file[name] for name in file.files if name.startswith(GRAD)}


@pytest.fixture(scope="session")
def sizes() -> dict:
    """Contents of the miniature's config.json."""
    return json.loads((FOLDER / "config.json").read_text())


@pytest.fixture(scope="session")
def tensors() -> dict[str, np.ndarray]:
    """The miniature's weights: those of both kinds."""
    from openlrm.checkpoint import read_tensors

    return read_tensors(FOLDER / "model.safetensors")


@pytest.fixture
def make(sizes, tensors):
    """(kind) -> the miniature model with its golden weights, in inference state."""
    from openlrm.checkpoint import apply_tensors
    from openlrm.families.instantmesh.model import ModelInstantMesh
    from openlrm.families.instantmesh.weights import from_checkpoint

    def build(kind: str) -> ModelInstantMesh:
        model = ModelInstantMesh(kind=kind, **sizes)
        names = {name for name, _ in model.parameters_and_names()}
        fitting = {k: v for k, v in from_checkpoint(tensors, names).items() if k in names}
        apply_tensors(model, fitting, "golden")
        model.set_train(False)
        return model

    return build


@pytest.fixture
def nerf(make):
    """The volume model."""
    return make("nerf")


@pytest.fixture
def surface(make):
    """The mesh model."""
    return make("mesh")
