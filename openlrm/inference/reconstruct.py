"""One model for many pictures: each becomes a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from mindspore import Tensor

from openlrm.cameras import DEFAULT_DISTANCE, build_source_camera, default_source_pose
from openlrm.checkpoint import LocatedModel, build_model
from openlrm.errors import UserError
from openlrm.inference.preprocess import prepare_image
from openlrm.inference.scene import Scene
from openlrm.models.lrm import ModelLRM

SOURCE_SIZES = {(512, 32): 224, (768, 48): 336, (1024, 80): 448, (768, 80): 448}
"""Side of the input of the released models and of this project's large one, by (transformer_dim, triplane_dim)."""


class Reconstructor:
    """A model with the size of input it was made for.

    Args:
        model: with its weights, in inference state.
        source_size: side in pixels of the encoder's input.
        name: short name, for folders and messages.

    Raises:
        UserError: a size that is no multiple of the encoder's patch.
    """

    def __init__(self, model: ModelLRM, source_size: int, name: str = "model"):
        patch = model.encoder.model.spec.patch_size
        if source_size % patch:
            raise UserError(f"source_size={source_size} is not a multiple of the encoder's patch side {patch}")
        self.model, self.source_size, self.name = model, source_size, name

    @classmethod
    def load(cls, located: LocatedModel, source_size: int | None = None) -> Reconstructor:
        """Load a model.

        Args:
            located: see `openlrm.checkpoint.locate_model`.
            source_size: side in pixels of the encoder's input; what the model was made for without it.

        Raises:
            UserError: unreadable, or of an unknown input size.
        """
        size = source_size or known_source_size(located)
        if size is None:
            raise UserError("source_size is missing", hint="the model does not say which size of input it was made for")
        return cls(build_model(located), size, located.name)

    def __call__(
        self, image, source_cam_dist: float = DEFAULT_DISTANCE, renderer: str = "auto", name: object = None
    ) -> Scene:
        """Reconstruct the object of a picture.

        Args:
            image: anything that `openlrm.utils.images.load_pixels` takes; transparent or white behind the object.
            source_cam_dist: distance of the camera that took it, in units of the scene.
            renderer: see `Scene`.
            name: what to call the picture in messages.

        Raises:
            UserError: a picture that cannot be used, or weights that give no finite planes.
        """
        picture = Tensor(prepare_image(image, self.source_size, name))
        camera = build_source_camera(default_source_pose(source_cam_dist))[None]
        planes = self.model.forward_planes(picture, Tensor(camera.astype(np.float32)))
        if not np.isfinite(planes.asnumpy()).all():
            raise UserError("the triplane holds NaN or infinity", hint="are the weights damaged?")
        return Scene(planes, self.model.synthesizer, renderer)


def known_source_size(located: LocatedModel) -> int | None:
    """Side in pixels of the input a model was made for; None when nothing tells it.

    The training's own settings say so, then the sizes of the released models, then an encoder that is written out in
    config.json.
    """
    config = located.config
    released = SOURCE_SIZES.get((config.get("transformer_dim"), config.get("triplane_dim")))
    encoder = config.get("encoder") or {}
    return _trained_size(located.config_file.parent) or released or encoder.get("img_size")


def _trained_size(folder: Path) -> int | None:
    """What cfg.yaml of a run folder says."""
    try:
        settings = yaml.safe_load((folder / "cfg.yaml").read_text(encoding="utf-8"))
        return int(settings["data"]["source_image_res"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"the run's settings do not tell data.source_image_res ({type(error).__name__})",
            folder / "cfg.yaml",
            "give source_size",
        ) from error
