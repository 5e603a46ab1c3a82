"""Fine-tuning as a run of the training loop: one object, one whole view a step; few weights or all of them train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor, nn

from openlrm.diagnosis.objects import Subject, tuning_views
from openlrm.families.lrm.loss import PARTS, LRMLoss
from openlrm.families.lrm.options import LossConfig
from openlrm.families.reconstructor import Reconstructor
from openlrm.finetuning.config import FinetuneOptions
from openlrm.finetuning.measure import Measure, Measured
from openlrm.nn.transformer.lora import adapters_of, freeze_base
from openlrm.ops import inference_state
from openlrm.reports.results import HELD_OUT, TRAINED_ON
from openlrm.training.image_loss import ImageLoss
from openlrm.training.noise import ray_noise
from openlrm.training.parameters import trained_parameters
from openlrm.training.task import Task, scalar, tensor
from openlrm.training.validation import Validation


class FinetuneTask(Task):
    """A model tuned on a few objects; with adapters they alone train and are saved, else all but the encoder.

    Args:
        reconstructor: the model, an LRM; its adapters are attached.
        subjects: the objects.
        config: the options.
        loss: what is minimised.
        measure: of the validation.
        seed: of objects, views and samples.
        on_best: called with the figures when the mean PSNR is the best so far.

    Raises:
        UserError: fewer views than are asked for.
    """

    parts = PARTS
    per_epoch = 1

    def __init__(
        self,
        reconstructor: Reconstructor,
        subjects: Sequence[Subject],
        config: FinetuneOptions,
        loss: LossConfig,
        measure: Measure,
        seed: int,
        on_best: Callable[[Measured], None],
    ):
        super().__init__()
        self.reconstructor, self.subjects, self.config, self.seed = reconstructor, subjects, config, seed
        self.measure, self.on_best, self.best = measure, on_best, -np.inf
        self.objects, self.roots = [subject.uid for subject in subjects], [config.data_root]
        size, model = config.render_size, reconstructor.model
        adapters = adapters_of(model)
        if adapters:
            freeze_base(model)
        self.parameters: list[Parameter] = trained_parameters(model, freeze=[] if adapters else ["encoder.*"])
        self.model = nn.CellList(list(adapters.values())) if adapters else model
        self.views = [tuning_views(len(subject.views), config.num_train_views)[0] for subject in subjects]
        self._truth = [subject.truth(views, size) for subject, views in zip(subjects, self.views, strict=True)]
        self._features = [self._encode(subject) for subject in subjects]
        self._loss = LRMLoss(model, ImageLoss(loss), loss.tv_weight, size, frozen=True)

    def loss(self, step: int) -> nn.Cell:
        """Always the same."""
        return self._loss

    def batches(self, epoch: int, batch: int, epochs: int) -> Iterator[tuple[int, int, dict[str, np.ndarray]]]:
        """Object and view of every step, drawn from seed and step alone."""
        for number in count(epoch + batch):
            yield number, 0, self._draw(number)

    def inputs(self, batch: Mapping[str, np.ndarray], step: int, part: int) -> list[Tensor]:
        """What `LRMLoss` takes, but the loss scale."""
        size, samples = self.config.render_size, self.reconstructor.model.synthesizer.samples
        noise, u = ray_noise(self.seed, step, part, size**2, samples)
        *given, rgb, mask = (tensor(array) for array in batch.values())
        return [*given, tensor(noise), tensor(u), rgb, mask, scalar(0.0)]

    def pictures(self, batch: Mapping[str, np.ndarray], preview: Any) -> tuple[np.ndarray, np.ndarray]:
        """The view asked for and the view rendered."""
        return batch["rgb"], preview.asnumpy()

    @property
    def validates(self) -> bool:
        """Always."""
        return True

    def validate(self) -> Validation:
        """Figures of the objects measured, and a sheet of truth above renders."""
        found = self.measure(self.reconstructor)
        if found.mean["psnr"] > self.best:
            self.best = found.mean["psnr"]
            self.on_best(found)
        rows = []
        for uid, shown in found.shown.items():
            rows += [np.concatenate(list(pictures), axis=2) for pictures in (self.measure.truth[uid][0], shown)]
        overlap = set(found.objects) & set(self.objects)
        kind = TRAINED_ON if overlap else HELD_OUT
        measured = f"{len(found.objects)} objects at {self.measure.size} pixels"
        return Validation(found.mean, np.concatenate(rows, axis=1).transpose(1, 2, 0), kind, measured)

    def _encode(self, subject: Subject) -> np.ndarray:
        """Features (1, K, D) of the source picture: the encoder never changes."""
        picture = self.reconstructor.prepare(subject.views.rgba[subject.source_view], subject.uid)
        with inference_state(self.reconstructor.model):
            return self.reconstructor.model.encoder(Tensor(picture)).asnumpy()

    def _draw(self, step: int) -> dict[str, np.ndarray]:
        if self.config.sampling == "parity":
            number = step % len(self.subjects)
            view = step % len(self.views[number])
        else:
            random = np.random.default_rng([self.seed, step])
            number = int(random.integers(len(self.subjects)))
            view = int(random.integers(len(self.views[number])))
        subject, (rgb, alpha) = self.subjects[number], self._truth[number]
        camera = subject.views.cameras[self.views[number][view]]
        return {
            "features": self._features[number],
            "source_camera": subject.source_camera.source_record()[None],
            "cameras": camera.render_record()[None, None],
            "anchors": np.zeros((1, 1, 2)),
            "resolutions": np.full((1, 1, 1), self.config.render_size),
            "backgrounds": np.ones((1, 1, 1)),
            "rgb": rgb[view][None, None],
            "mask": alpha[view][None, None, None],
        }
