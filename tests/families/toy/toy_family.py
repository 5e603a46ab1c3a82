"""A family in a file: the mean colour of one or two pictures tints a triplane that is learnt for all objects."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from openlrm.config import option
from openlrm.families.family import Family, Preset
from openlrm.training.config import ObjectRunConfig


@dataclass
class ToyConfig:
    """Sizes of the model."""

    side: int = option(8, "texels along a plane", minimum=2)
    channels: int = option(4, "of a plane", minimum=1)
    samples: int = option(8, "on a ray, half coarse and half fine; even", minimum=8)


@dataclass(kw_only=True)
class TrainToyConfig(ObjectRunConfig):
    model: ToyConfig = option(ToyConfig, "sizes of the model")


class Toy(Family):
    """One or two pictures to a triplane."""

    name, summary, sources = "toy", "mean colour -> tinted triplane", (1, 2)
    Config, TrainConfig = ToyConfig, TrainToyConfig
    examples = ("python -m openlrm.launch train.toy 'data.subsets=[{root_dirs: [assets/sample_object]}]'",)

    def build(self, config: dict[str, Any], there: int | None = None):
        return toy_model(ToyConfig(**config))

    def reconstruct(self, model, pictures, cameras, renderer):
        from mindspore import Tensor

        from openlrm.representations.triplane import Triplane

        return Triplane(model(Tensor(pictures[None])), model.synthesizer, renderer)

    def task(self, config, world, resumed):
        return toy_task(self, config, world)

    def source_size(self, config):
        return 16

    def presets(self):
        return (Preset("toy", {}, parameters=10_396, source_size=16, memory_gib=None, source="made up"),)


def toy_model(config: ToyConfig):
    from mindspore import Parameter, Tensor, nn

    from openlrm.ops import Linear
    from openlrm.representations.triplane import TriplaneSynthesizer

    class ToyModel(nn.Cell):
        def __init__(self):
            super().__init__()
            self.config = config
            shape = (1, 3, config.channels, config.side, config.side)
            start = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            self.planes = Parameter(Tensor(0.3 * start), name="planes")
            self.tint = Linear(3, 3 * config.channels)
            self.synthesizer = TriplaneSynthesizer(config.channels, config.samples)

        def construct(self, pictures):  # (N, K, 3, S, S) -> planes (N, 3, C, H, W)
            tint = self.tint(pictures.mean(axis=(1, 3, 4)))
            return self.planes + tint.reshape(-1, 3, config.channels, 1, 1)

    return ToyModel()


def toy_task(family: Toy, config: TrainToyConfig, world):
    from mindspore import nn

    from openlrm.families.reconstructor import Reconstructor
    from openlrm.losses import pixel_loss
    from openlrm.training.noise import ray_noise
    from openlrm.training.objects import ObjectTask
    from openlrm.training.parameters import trained_parameters
    from openlrm.training.task import tensor

    class ToyLoss(nn.Cell):
        def __init__(self, model, region):
            super().__init__(auto_prefix=False)
            self.model, self.region = model, region

        def construct(self, pictures, target, cameras, anchors, sizes, backgrounds, noise, u, scale):
            view = (cameras, anchors, sizes, backgrounds, self.region, noise, u)
            shown = self.model.synthesizer(self.model(pictures), *view)["images_rgb"]
            loss = pixel_loss(shown, target)
            return loss * scale, loss.reshape(1), shown

    class ToyTask(ObjectTask):
        def __init__(self):
            super().__init__(config, world, sources=2)
            self.model = toy_model(config.model)
            self.parameters = trained_parameters(self.model, config.train.only, config.train.freeze)
            self.config_dict = family.config_of(self.model, config.data.source_image_res)
            self.region = config.data.render_region_size
            self.cell = ToyLoss(self.model, self.region)

        def reconstruct(self, pictures, cameras):
            return Reconstructor(family, self.model, config.data.source_image_res)(list(pictures), cameras)

        def loss(self, step):
            return self.cell

        def inputs(self, batch, step, part):
            rays = int(np.prod(batch.cameras.shape)) * self.region**2
            noise = ray_noise(config.seed, step, part, rays, self.model.synthesizer.samples)
            view = [batch.cameras.render_record(), batch.anchors, batch.sizes[..., None], batch.backgrounds[..., None]]
            return [tensor(array) for array in (batch.source_images, batch.images, *view, *noise)]

    return ToyTask()
