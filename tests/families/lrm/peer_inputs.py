"""What the PyTorch program and this one are both given: weights, a picture, batches. All from numpy's generators."""

from pathlib import Path
from zlib import crc32

import mindspore as ms
import numpy as np
from mindspore import Tensor

from openlrm import ModelLRM
from openlrm.cameras import Camera, default_source_pose
from openlrm.datasets import DataConfig, Item, SubsetConfig, TrainItems, collate
from openlrm.families.lrm.presets import PRESETS
from openlrm.families.lrm.start import strong_start
from openlrm.training.noise import ray_noise

REPO = Path(__file__).resolve().parents[3]
STEPS, OBJECTS, REGION = 20, 2, 16
SEEDS = (11, 12, 13)
SIZES = {"small": 224, "base": 336}
SAMPLED = 512


def drawn_model(kind: str) -> ModelLRM:
    """A model of full size with weights that depend on their names alone."""
    (preset,) = (preset for preset in PRESETS if preset.name == kind)
    model = ModelLRM(**preset.config)
    for name, parameter in model.parameters_and_names():
        numbers = np.random.default_rng(crc32(name.encode())).standard_normal(parameter.shape, np.float32)
        if name.endswith("gamma") or (parameter.ndim == 1 and name.endswith("weight")):
            numbers = 1 + 0.1 * numbers
        elif parameter.ndim == 1:
            numbers *= 0.02
        else:
            numbers *= 0.02 if "pos_embed" in name or "token" in name else np.prod(parameter.shape[1:]) ** -0.5
        parameter.set_data(Tensor(numbers.astype(np.float32)))
    return model


def smooth_picture(size: int) -> np.ndarray:
    """A coloured blob on white, (1, 3, size, size) in [0, 1]."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    blob = np.exp(-20 * (x**2 + 1.5 * y**2))
    colours = np.stack([0.5 + 0.5 * np.sin(9 * x), 0.5 + 0.5 * np.cos(7 * y), 0.3 + 0.4 * np.sin(20 * x * y)])
    return (colours * blob + 1 - blob)[None].astype(np.float32)


def source_record() -> np.ndarray:
    """(1, 16): the default camera."""
    return Camera(default_source_pose()).source_record()[None]


def summary(planes: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of planes (1, 3, C, H, W): the norm of each channel, largest entry, some of the entries."""
    chosen = np.random.default_rng(0).choice(planes.size, SAMPLED, replace=False)
    norms = np.sqrt((planes[0].astype(np.float64) ** 2).sum((2, 3)))
    return {"norms": norms, "largest": np.abs(planes).max(), "entries": planes.reshape(-1)[chosen]}


def first_model(config: dict, seed: int) -> ModelLRM:
    """The miniature model with the weights that training starts from."""
    ms.set_seed(seed)
    model = ModelLRM(**config)
    strong_start(model, seed, encoder=True)
    return model


def checksum(model: ModelLRM) -> int:
    """Of all weights."""
    total = 0
    for name, parameter in sorted(model.parameters_and_names()):
        total = crc32(parameter.asnumpy().tobytes(), crc32(name.encode(), total))
    return total


def draw_batches(seed: int) -> list[Item]:
    """Batches of the sample object, as training draws them."""
    sizes = {"source_image_res": 70, "render_image_low": 16, "render_image_high": 32, "render_region_size": REGION}
    data = DataConfig([SubsetConfig([str(REPO / "assets" / "sample_object")])], **sizes)
    items = TrainItems(data, seed)
    drawn = [[items.item(step, index) for index in range(OBJECTS)] for step in range(STEPS)]
    return [collate(batch) for batch in drawn]


def write_batches(folder: Path, seed: int, samples: int) -> None:
    """`folder`/batches.npz, as peer_curve.py reads it."""
    batches = draw_batches(seed)
    rays = OBJECTS * batches[0].images.shape[1] * REGION**2
    noise, u = zip(*(ray_noise(seed, step, 0, rays, samples) for step in range(STEPS)), strict=True)
    flat = [
        {
            "source_image": batch.source_images[:, 0],
            "source_camera": batch.source_cameras[:, 0].source_record(),
            "render_camera": batch.cameras.render_record(),
            "render_image": batch.images,
            "render_anchors": batch.anchors,
            "render_full_resolutions": batch.sizes[..., None],
            "render_bg_colors": batch.backgrounds[..., None],
        }
        for batch in batches
    ]
    arrays = {key: np.stack([batch[key] for batch in flat]) for key in flat[0]}
    np.savez(folder / "batches.npz", noise=np.stack(noise), u=np.stack(u), **arrays)
