"""Planes of a model of full size against the same model in PyTorch, where that is at hand.

Set OPENLRM_PEER_PYTHON to an interpreter that has torch, numpy and safetensors; ../shared/peer holds the program.
Random weights in the released layout, so nothing is downloaded.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mindspore import Tensor

from openlrm import ModelLRM
from openlrm.cameras import Camera, default_source_pose

pytestmark = pytest.mark.slow

# Twelve layers in float32 by other kernels, of the planes' largest value.
TOLERANCE = 1e-3

RUN_PEER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import lrm_torch, numpy, torch
from safetensors.torch import load_file
folder = sys.argv[2]
model = lrm_torch.LRM(**json.load(open(f"{folder}/config.json")))
model.load_state_dict(load_file(f"{folder}/model.safetensors"))
given = numpy.load(f"{folder}/given.npz")
with torch.no_grad():
    planes = model.forward_planes(torch.from_numpy(given["image"]), torch.from_numpy(given["camera"]))
numpy.save(f"{folder}/planes.npy", planes.numpy())
"""


@pytest.fixture
def peer(shared_dir) -> tuple[str, Path]:
    """Interpreter and folder of the PyTorch program."""
    python, folder = os.environ.get("OPENLRM_PEER_PYTHON"), shared_dir / "peer"
    if not python:
        pytest.skip("OPENLRM_PEER_PYTHON names no interpreter with torch")
    if not (folder / "lrm_torch.py").is_file():
        pytest.skip("../shared/peer is not there")
    return python, folder


def smooth_picture(size: int) -> np.ndarray:
    """A coloured blob on white, (1, 3, size, size) in [0, 1]."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    blob = np.exp(-20 * (x**2 + 1.5 * y**2))
    colours = np.stack([0.5 + 0.5 * np.sin(9 * x), 0.5 + 0.5 * np.cos(7 * y), 0.3 + 0.4 * np.sin(20 * x * y)])
    return (colours * blob + 1 - blob)[None].astype(np.float32)


@pytest.mark.parametrize(("kind", "size"), [("small", 224), ("base", 336)])
def test_planes(kind, size, peer, pynative, tmp_path, record_property):
    python, folder = peer
    subprocess.run([python, folder / "lrm_torch.py", "weights", kind, tmp_path], check=True)
    image, camera = smooth_picture(size), Camera(default_source_pose()).source_record()[None]
    np.savez(tmp_path / "given.npz", image=image, camera=camera)
    subprocess.run([python, "-c", RUN_PEER, folder, tmp_path], check=True)
    expected = np.load(tmp_path / "planes.npy")
    planes = ModelLRM.from_pretrained(str(tmp_path)).forward_planes(Tensor(image), Tensor(camera)).asnumpy()
    assert planes.shape == expected.shape
    difference = np.abs(planes - expected).max() / np.abs(expected).max()
    record_property("relative difference", float(difference))
    print(f"{kind}: largest relative difference {difference:.2e}")
    assert difference <= TOLERANCE
