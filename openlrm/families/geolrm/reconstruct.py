"""Posed pictures to Gaussians with a model: anchors, latents, and the choice between the two attentions."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor

from openlrm.cameras import Camera
from openlrm.cameras.conventions import to_homogeneous
from openlrm.families.geolrm.cells import cell_positions, select_cells
from openlrm.families.geolrm.model import GeoLRM, anchor_tensor
from openlrm.families.geolrm.units import CUBE
from openlrm.metrics import psnr
from openlrm.nn.transformer.anchors import ATTENTIONS
from openlrm.representations.gaussians import Gaussians
from openlrm.representations.gaussians.representation import GaussianScene
from openlrm.utils.logging import get_logger

logger = get_logger(__name__)


def camera_tensors(cameras: Camera) -> tuple[Tensor, Tensor]:
    """Intrinsics (..., 3, 3) and poses (..., 4, 4) as the networks take them, of cameras of the scene."""
    poses = to_homogeneous(cameras.c2w).astype(np.float32)
    poses[..., :3, 3] *= CUBE
    return Tensor(cameras.matrix()), Tensor(np.ascontiguousarray(poses))


def reconstruct(model: GeoLRM, pictures: np.ndarray, cameras: Camera, seed: int = 0) -> GaussianScene:
    """Gaussians of one object.

    With `attention: auto` both attentions are tried, and the one is kept whose Gaussians look more like the pictures.

    Args:
        model: in inference state.
        pictures: (V, 3, S, S) float32 in [0, 1], on white.
        cameras: (V,) of the scene.
        seed: of the draw where more cells are occupied than `max_seq_len`.

    Raises:
        UserError: no cell is occupied, or the model has no reconstruction network.
    """
    if model.config.attention != "auto":
        return _once(model, pictures, cameras, seed)
    scenes, likeness = [], []
    for kind in ATTENTIONS:
        model.set_attention(kind)
        scenes.append(_once(model, pictures, cameras, seed))
        seen = np.stack([view.rgb for view in scenes[-1].views(cameras, pictures.shape[-1])])
        likeness.append(float(np.mean(psnr(seen.transpose(0, 3, 1, 2), pictures))))
        logger.info("attention=%s: input views are shown with %.2f dB", kind, likeness[-1])
    return scenes[int(np.argmax(likeness))]


def _once(model: GeoLRM, pictures: np.ndarray, cameras: Camera, seed: int) -> GaussianScene:
    config = model.config
    views = Tensor(np.ascontiguousarray(pictures[None])), *camera_tensors(cameras[None])
    logits = model.occupancy(*views).asnumpy()[0]
    cells = select_cells(logits, config.max_seq_len, config.occupancy_threshold, config.subset, seed)
    points = anchor_tensor(cell_positions(cells, config.grid_size, config.voxels))
    parts = [part.asnumpy()[0] for part in model(points, *views)]
    logger.info("%d occupied cells are anchors of %d Gaussians", len(cells), len(parts[0]))
    return GaussianScene(Gaussians(*parts).scaled(1 / CUBE))
