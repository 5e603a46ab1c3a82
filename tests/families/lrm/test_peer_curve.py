"""Twenty training steps against the same steps in PyTorch, where that is at hand (see test_peer.py).

Same weights, batches and draws; the other side's optimiser is torch's own (peer_curve.py). The weights are those of
`strong_start`: with them the picture matters from the first step. Not the golden ones: from these PyTorch in float32
leaves its own float64 curve by up to 2e-3 within twenty steps.
"""

import json
import os
import subprocess
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from openlrm import ModelLRM
from openlrm.datasets import DataConfig, Item, SubsetConfig, TrainItems, collate
from openlrm.families.lrm.options import LossConfig
from openlrm.families.lrm.start import strong_start
from openlrm.training.config import OptimConfig, SchedulerConfig
from openlrm.training.noise import ray_noise
from openlrm.training.update import Update

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
STEPS, OBJECTS, REGION, SEED = 20, 2, 16, 11
# Of the loss, at every step. Measured: 4e-5, 2e-4 and, for this seed, 6e-4, which is too much; 1e-3 with decay on
# biases and norms too.
TOLERANCE = 5e-4


@pytest.fixture
def peer(shared_dir) -> tuple[str, Path]:
    """Interpreter and folder of the PyTorch program."""
    python, folder = os.environ.get("OPENLRM_PEER_PYTHON"), shared_dir / "peer"
    if not python:
        pytest.skip("OPENLRM_PEER_PYTHON names no interpreter with torch")
    if not (folder / "lrm_torch.py").is_file():
        pytest.skip("../shared/peer is not there")
    return python, folder


def draw_batches() -> list[Item]:
    """Batches of the sample object, as training draws them."""
    sizes = {"source_image_res": 70, "render_image_low": 16, "render_image_high": 32, "render_region_size": REGION}
    data = DataConfig([SubsetConfig([str(HERE.parents[2] / "assets" / "sample_object")])], **sizes)
    items = TrainItems(data, SEED)
    drawn = [[items.item(step, index) for index in range(OBJECTS)] for step in range(STEPS)]
    return [collate(batch) for batch in drawn]


def write_batches(folder: Path, batches: list[Item], samples: int) -> None:
    rays = OBJECTS * batches[0].images.shape[1] * REGION**2
    noise, u = zip(*(ray_noise(SEED, step, 0, rays, samples) for step in range(STEPS)), strict=True)
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


def test_losses_of_twenty_steps(peer, mini_config, pynative, tmp_path, task_of, record_property):
    python, folder = peer
    ms.set_seed(SEED)
    model = ModelLRM(**mini_config)
    strong_start(model, SEED, encoder=True)
    model.save_pretrained(str(tmp_path))
    batches = draw_batches()
    write_batches(tmp_path, batches, model.synthesizer.samples)
    subprocess.run([python, HERE / "peer_curve.py", folder, tmp_path], check=True)
    expected = np.array(json.loads((tmp_path / "losses.json").read_text()))

    # The same numbers as in peer_curve.py.
    task = task_of(
        model,
        LossConfig(perceptual_weight=0.0, tv_weight=5e-4),
        seed=SEED,
        region=REGION,
        optim=OptimConfig(start_learning_rate=4e-4, betas=[0.9, 0.95], eps=1e-8, weight_decay=4.0, max_grad_norm=0.05),
        scheduler=SchedulerConfig(scheduler="cosine", warmup_steps=4, end_learning_rate=0.0),
    )
    update = Update(task, task.config.train, STEPS)
    losses = np.array([update([batch], step).parts["loss"] for step, batch in enumerate(batches)])
    deviation = np.abs(losses / expected - 1)
    record_property("largest relative deviation", float(deviation.max()))
    print(f"largest relative deviation {deviation.max():.1e}, at step {deviation.argmax()}")
    assert len(expected) == STEPS
    assert deviation.max() < TOLERANCE
