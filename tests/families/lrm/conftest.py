"""The golden batch as an item, and training tasks of a given model."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from openlrm.cameras import Camera
from openlrm.datasets import DataConfig, Item, SubsetConfig
from openlrm.families import find_family
from openlrm.families.lrm.options import LossConfig, LRMTrainOptions, TrainedModel, TrainLRMConfig
from openlrm.parallel import ALONE
from openlrm.training.config import ValidationConfig

REGION = 12

# The tests are no package: what the stored results were made from is found by its path.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def peer(repo) -> dict[str, np.ndarray]:
    """What a PyTorch program of the same model computes, see make_peer.py."""
    with np.load(repo / "tests" / "golden" / "peer.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def batch(golden) -> Item:
    """The golden batch; its masks are made up."""
    target = golden["target"]
    random = np.random.default_rng(3)
    return Item(
        source_images=golden["image"][:, None],
        source_cameras=Camera.from_source_record(golden["source_camera"])[:, None],
        images=target,
        masks=random.random((*target.shape[:2], 1, *target.shape[3:])).astype(np.float32),
        cameras=Camera.from_render_record(golden["render_cameras"]),
        anchors=golden["render_anchors"],
        sizes=golden["render_resolutions"][..., 0],
        backgrounds=golden["render_bg_colors"][..., 0],
    )


@pytest.fixture
def double(batch) -> Item:
    """The golden batch, its first object beside one whose picture is the negative."""
    first = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    twice = Item(**{name: None if value is None else value[[0, 0]] for name, value in first.items()})
    return twice.with_sources(np.stack([twice.source_images[0], 1 - twice.source_images[1]]))


@pytest.fixture
def task_of(repo):
    """(model, weights of the loss, LPIPS, side of the squares) -> a task on the sample object."""

    def make(model, loss=None, lpips=None, deferred=0, seed=0, region=REGION, **train):
        from openlrm.families.lrm.deferred import DeferredLRMTask
        from openlrm.families.lrm.task import LRMTask

        loss = LossConfig(perceptual_weight=0.0) if loss is None else loss
        data = DataConfig(
            [SubsetConfig([str(repo / "assets" / "sample_object")])],
            source_image_res=56,
            render_region_size=region,
            render_image_low=region,
        )
        # What the loss weighs is not built from the options here: it would want the trained backbone and no crops.
        plain = dataclasses.replace(loss, perceptual_weight=0.0, frequency_weight=0.0)
        options = LRMTrainOptions(loss=plain, deferred_region=deferred, **train)
        config = TrainLRMConfig(
            model=TrainedModel(**vars(model.config)),
            data=data,
            train=options,
            val=ValidationConfig(val_interval=0),
            seed=seed,
        )
        task = (DeferredLRMTask if deferred else LRMTask)(find_family("lrm"), config, ALONE, model)
        config.train.loss = loss
        task.lpips = lpips
        return task

    return make
