"""`diagnose.visibility`: is the error where the source camera cannot look?"""

from __future__ import annotations

import numpy as np

from openlrm.analysis.paired import fit_line
from openlrm.analysis.visibility import (
    group_figures,
    outward_normals,
    view_angle,
    visible_by_depth,
    visible_by_normal,
)
from openlrm.diagnosis.config import VisibilityOptions
from openlrm.diagnosis.probe import Probe
from openlrm.diagnosis.residual import surface_errors
from openlrm.diagnosis.study import Outcome, Study


def visibility(study: Study, options: VisibilityOptions) -> Outcome:
    """Colour errors of points the source camera sees and of those it does not; render error by angle to it."""
    points, on_shell, error, _ = surface_errors(study, options)
    camera = study.subject.views.cameras[study.subject.source_view]
    depth = study.probe.depth(study.reference, camera)
    place = (depth, camera.c2w, camera.intrinsics, options.depth_tolerance)
    seen = visible_by_depth(points[on_shell], *place)
    scene = study.probe.scene(study.reference)
    normals = outward_normals(lambda p: scene.field(np.ascontiguousarray(p, np.float32))[0], points[on_shell])
    facing = visible_by_normal(points[on_shell], normals, camera.c2w)
    parity = visible_by_depth(points, *place, definitions="parity")
    figures = {
        "consistent": _groups(error[on_shell], seen) | {"agreement_with_normals": float((seen == facing).mean())},
        "by_normals": _groups(error[on_shell], facing),
        "parity": _groups(error, parity),
    }
    cameras = study.subject.views.cameras
    probe = Probe(study.synthesizer, cameras, study.size)
    change = np.abs(probe(study.prediction).astype(np.float64) - probe(study.reference)).mean((1, 2, 3))
    angles = np.array([view_angle(c2w, camera.c2w) for c2w in cameras.c2w])
    order = np.argsort(change)
    figures["views"] = {"line": fit_line(angles, change)._asdict(), "best": order[:4], "worst": order[::-1][:4]}
    arrays = {"points": points[on_shell], "label": seen, "error": error[on_shell], "angle": angles, "l1": change}
    return Outcome(figures, arrays)


def _groups(errors: np.ndarray, seen: np.ndarray) -> dict[str, object]:
    """Figures of both groups, and how much larger the mean is where nothing is seen."""
    of_seen, hidden = group_figures(errors[seen], "visible"), group_figures(errors[~seen], "hidden")
    ratio = hidden["mean"] / of_seen["mean"] if of_seen["mean"] else None
    return {"visible": of_seen, "hidden": hidden, "ratio": ratio, "visible_share": float(seen.mean())}
