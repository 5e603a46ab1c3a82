"""`diagnose.refine`: can the answer be repaired at test time, and what breaks?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, nn

from openlrm.analysis.bands import MIDDLE
from openlrm.analysis.spectrum import band_shares
from openlrm.diagnosis.config import RefineOptions
from openlrm.diagnosis.objects import spread_views
from openlrm.diagnosis.oracle import fit, sized
from openlrm.diagnosis.probe import Probe
from openlrm.diagnosis.study import Outcome, Study
from openlrm.errors import UserError
from openlrm.fitting.whole_views import FreePlanes, LowPlanes, TokenPlanes, WholeViewsTask
from openlrm.metrics import psnr, ssim
from openlrm.metrics.ssim import WINDOW
from openlrm.ops import inference_state

_LOW_CUTOFF, _LOW_TV = 0.3, 1e-4


def refine(study: Study, options: RefineOptions, folder: Path) -> Outcome:
    """Optimise each variant on some views and measure it on others.

    Raises:
        UserError: fewer views than are asked for, a model without tokens, or LPIPS, whose backbone is not used here.
    """
    count = len(study.subject.views)
    fitted = spread_views(count, options.num_train_views)
    held = (fitted + 1) % count
    if set(held) & set(fitted):
        raise UserError(f"num_train_views={options.num_train_views} of {count} leaves none held out", hint="fit fewer")
    if "tokens_lpips" in options.variants:
        raise UserError("tokens_lpips needs LPIPS's backbone, which is not at hand here", hint="leave the variant out")
    small = sized(study.subject.views, study.size)
    groups = {"fitted": fitted, "held_out": held}
    figures: dict[str, Any] = {"prediction": _measure(study, small, groups, study.prediction)}
    arrays = {"truth": small.on(1.0)[0][held[:4]]}
    for variant in options.variants:
        task, steps = _task(study, options, variant, small.take(fitted))
        planes = fit(task, steps, folder / f"{study.subject.uid}_{variant}")
        found = _measure(study, small, groups, planes)
        before = figures["prediction"]["held_out"]["l1"]
        found["held_out_l1_change"] = found["held_out"]["l1"] / before - 1
        found["plane_change"] = float(np.abs(planes - study.prediction).mean())
        figures[variant] = found
        arrays[f"shown_{variant}"] = Probe(study.synthesizer, small.cameras[held[:4]], study.size)(planes)
    return Outcome(figures, arrays)


def _task(study: Study, options: RefineOptions, variant: str, views: Any) -> tuple[WholeViewsTask, int]:
    start, rate, steps = Tensor(study.prediction[None].copy()), options.refine_lr, options.refine_iters
    prox = tv = 0.0
    if variant == "tokens":
        field: nn.Cell = TokenPlanes(_tokens(study), study.reconstructor.model.upsampler, study.synthesizer)
    elif variant == "lowfreq":
        field, rate, steps = LowPlanes(start, _LOW_CUTOFF, study.synthesizer), 2 * rate, max(1, 2 * steps // 5)
        prox, tv = options.lambda_prox, _LOW_TV
    else:
        field = FreePlanes(start, study.synthesizer)
        prox = options.lambda_prox if variant == "triplane_prox" else 0.0
    return WholeViewsTask(field, views, 0, rate, study.seed, study.subject.uid, "mse", prox, tv), steps


def _tokens(study: Study) -> Tensor:
    """What the transformer gives after its last norm, (1, 3 r^2, D)."""
    model, subject = study.reconstructor.model, study.subject
    if not hasattr(model, "upsampler"):
        raise UserError(
            f"{study.reconstructor.name} has no tokens before its planes", hint="leave the variant tokens out"
        )
    picture = study.reconstructor.prepare(subject.views.rgba[subject.source_view], subject.uid)
    with inference_state(model):
        camera = model.camera_embedder(Tensor(subject.source_camera.source_record()[None]))
        return Tensor(model.transformer(model.pos_embed, model.encoder(Tensor(picture)), camera).asnumpy())


def _measure(study: Study, views: Any, groups: dict[str, np.ndarray], planes: np.ndarray) -> dict[str, Any]:
    """L1, PSNR and SSIM of fitted and held-out views; energy of fine detail against the truth's; roughness of depth."""
    truth, _ = views.on(1.0)
    scene = study.probe.scene(planes)
    found: dict[str, Any] = {}
    for name, indices in groups.items():
        shown = np.stack([view.rgb.transpose(2, 0, 1) for view in scene.views(views.cameras[indices], study.size)])
        figures = {"l1": float(np.abs(shown - truth[indices]).mean(dtype=np.float64))}
        figures["psnr"] = float(np.mean([psnr(a, b) for a, b in zip(shown, truth[indices], strict=True)]))
        if study.size >= WINDOW:
            figures["ssim"] = ssim(shown, truth[indices])
        found[name] = figures
    fine = [_fine(pictures) for pictures in (shown, truth[indices])]
    depth = study.probe.depth(planes, study.probe.cameras[0])
    hit = np.where(np.isfinite(depth), depth, np.nan)
    steps = [np.abs(np.diff(hit, axis=axis)) for axis in (0, 1)]
    rough = np.concatenate([step[np.isfinite(step)] for step in steps])
    return found | {
        "fine_energy": fine[0],
        "fine_energy_truth": fine[1],
        "depth_variation": float(rough.mean()) if len(rough) else None,
    }


def _fine(pictures: np.ndarray) -> float:
    """Share of the power above `MIDDLE`, means of pictures left out."""
    centred = pictures - pictures.mean((2, 3), keepdims=True)
    return float(band_shares(centred, (0.0, MIDDLE, np.inf), pooled=True)[1])
