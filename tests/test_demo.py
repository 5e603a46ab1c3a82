"""The demonstration model as it ships: what its folder holds, and that it sees the picture it is given."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open

import openlrm

REPO = Path(__file__).resolve().parents[1]
FOLDER = REPO / "assets" / "openlrm-tiny-demo"
# Pictures of objects it has not seen, at the distances they were taken from.
UNSEEN = ("building_g", "mug_full")
SAMPLES = REPO / "assets" / "sample_input"


def read(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def test_small_and_in_half_precision():
    weights = FOLDER / "model.safetensors"
    assert weights.stat().st_size < 20e6
    with safe_open(weights, "np") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path != weights) < 1e6


def test_held_out_objects_are_those_of_the_config():
    config = yaml.safe_load((REPO / "configs" / "train-demo.yaml").read_text(encoding="utf-8"))
    held_out = read("held_out.json")
    assert held_out == config["val"]["val_uids"]
    assert len(held_out) >= 10
    assert set(UNSEEN) <= set(held_out)
    trained_on = read("train_uids.json")
    assert len(trained_on) > 100
    assert not set(held_out) & set(trained_on)


def test_config_is_that_of_the_training():
    model = read("config.json")
    trained = yaml.safe_load((REPO / "configs" / "train-demo.yaml").read_text(encoding="utf-8"))["model"]
    assert {key: model[key] for key in trained} == trained


def on_white(name, size):
    picture = Image.open(SAMPLES / f"{name}.png").convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    flat = Image.alpha_composite(white, picture).convert("RGB").resize((size, size), Image.Resampling.BOX)
    return np.asarray(flat, np.float32) / 255


@pytest.mark.usefixtures("pynative")
def test_sees_what_it_is_given():
    """From the front an unseen object looks like its own picture more than like any other sample's."""
    model = openlrm.load_model()
    pictures = {path.stem: on_white(path.stem, 64) for path in sorted(SAMPLES.glob("*.png"))}
    for name in UNSEEN:
        scene = openlrm.reconstruct(SAMPLES / f"{name}.png", model, background="keep", recentre=False)
        seen = np.asarray(scene.render(0, size=64, distance=2.0), np.float32) / 255
        error = {other: float(((seen - picture) ** 2).mean()) for other, picture in pictures.items()}
        assert min(error, key=error.get) == name, error
        assert error[name] < 0.5 * float(((1 - pictures[name]) ** 2).mean())
