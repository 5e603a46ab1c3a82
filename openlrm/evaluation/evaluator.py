"""One object after another: reconstructed from its first views, rendered, measured, drawn."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openlrm.datasets import PosedViews
from openlrm.errors import UserError
from openlrm.evaluation.meshes import read_mesh, score_mesh
from openlrm.evaluation.report import write_sheet
from openlrm.evaluation.scores import score_object
from openlrm.geometry.mesh_options import MeshSettings
from openlrm.losses.lpips import MIN_SIDE
from openlrm.utils.logging import get_logger

if TYPE_CHECKING:
    from openlrm.evaluation.baselines import MeanObject
    from openlrm.evaluation.config import EvalConfig
    from openlrm.families.reconstructor import Reconstructor
    from openlrm.metrics import PerceptualMetric

logger = get_logger(__name__)


@dataclass(frozen=True)
class Evaluator:
    """What every object is measured with.

    Attributes:
        reconstructor: the model.
        config: the options.
        perceptual: LPIPS, or None to leave it out.
        mean_object: the second baseline, or None.
        meshes: uid -> file of the true mesh, of the objects that have one.
        folder: of the results.
    """

    reconstructor: Reconstructor
    config: EvalConfig
    perceptual: PerceptualMetric | None
    mean_object: MeanObject | None
    meshes: dict[str, Path]
    folder: Path

    def __call__(self, uid: str, views: PosedViews) -> dict[str, Any]:
        """Figures of one object, see `score_object`; writes its sheet.

        Raises:
            UserError: what the model or a metric refuses.
        """
        cfg = self.config
        mesh = self.meshes.get(uid)
        true_mesh = None if mesh is None else read_mesh(mesh, cfg.mesh_up)
        truth, alpha = views.on(cfg.background, cfg.render_size)
        size = truth.shape[-1]
        start = time.perf_counter()
        inputs = self.reconstructor.family.inputs(self.reconstructor.model)
        scene = self.reconstructor(views.rgba[:inputs], views.cameras[:inputs], cfg.renderer, name=uid)
        reconstructed = time.perf_counter()
        rendered = list(scene.views(views.cameras, size, cfg.background))
        end = time.perf_counter()
        shown = np.stack([view.rgb for view in rendered]).transpose(0, 3, 1, 2)
        opacity = np.stack([view.mask for view in rendered])
        mean_views = None if self.mean_object is None else self.mean_object.render(views.cameras, size)
        perceptual = self.perceptual if size >= MIN_SIDE else None
        entry = score_object(truth, alpha, shown, opacity, perceptual, mean_views, inputs)
        entry |= {"seconds_planes": reconstructed - start, "seconds_render": end - reconstructed}
        if true_mesh is not None:
            try:
                ours = scene.extract(MeshSettings(cfg.mesh_size, cfg.mesh_thres, colored=False))
                entry["mesh"] = score_mesh(ours, true_mesh, views.turn, cfg.f_score_thresholds, cfg.mesh_points)
            except UserError as error:
                logger.warning("%s: no figures of the mesh: %s", uid, error)
                entry["mesh"] = None
        source = self.reconstructor.prepare(views.rgba[0], uid)[0]
        write_sheet(self.folder / "sheets" / f"{uid}.png", source, truth, shown, entry["views"])
        return entry
