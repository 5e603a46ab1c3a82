"""One page that shows Gaussians: it opens from the disk, asks nothing of the network and needs WebGL 2."""

from __future__ import annotations

import base64
import html
import json
import os
import string
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike

from openlrm.cameras import Camera
from openlrm.errors import UserError
from openlrm.representations.gaussians.record import Gaussians
from openlrm.utils.paths import atomic_path

_WORDS = np.dtype([("position", "<u2", 3), ("scale", "<u2", 3), ("rgba", "u1", 4), ("rotation", "<i2", 4)])
"""24 bytes, which base64 makes 32."""
_LEAST_OPACITY = 1 / 255
_LEAST_SCALE = 1e-8


def save_viewer(
    path: str | os.PathLike,
    gaussians: Gaussians,
    camera: Camera,
    title: str = "3D Gaussians",
    background: ArrayLike = (1.0, 1.0, 1.0),
) -> int:
    """Write the page whole or not at all.

    Args:
        path: of the page.
        gaussians: at least one; 32 bytes of the page are for each. Those of an opacity below 1/255 are left out.
        camera: of batch shape (), from where they are seen first; its vertical field of view stays with any window,
            its principal point is taken as the middle.
        title: of the page.
        background: (3,), the colour behind all.

    Returns:
        Gaussians embedded.

    Raises:
        UserError: no Gaussian that can be seen, one with a number that is not finite, or a place that cannot be
            written.
    """
    gaussians = gaussians.kept(gaussians.opacities[:, 0] >= _LEAST_OPACITY)
    if not len(gaussians):
        raise UserError("no Gaussian that could be seen", path)
    if not all(np.isfinite(array).all() for array in gaussians.arrays()):
        raise UserError("Gaussians with numbers that are not finite", path, "leave them out")
    records, ranges = _pack(gaussians)
    (right, up, backward), eye = camera.c2w[:, :3].T.astype(float).tolist(), camera.c2w[:, 3].astype(float).tolist()
    settings = ranges | {
        "count": len(gaussians),
        "middle": np.median(gaussians.means, axis=0).astype(float).tolist(),
        "focal": float(camera.intrinsics[1]),
        "background": np.asarray(background, float).tolist(),
        "camera": {"right": right, "up": up, "backward": backward, "eye": eye},
    }
    page = resources.files("openlrm.representations.gaussians") / "page"
    text = string.Template((page / "viewer.html").read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        count=f"{len(gaussians):,}",
        settings=json.dumps(settings),
        data=base64.b64encode(records.tobytes()).decode(),
        script=(page / "viewer.js").read_text(encoding="utf-8"),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return len(gaussians)


def _pack(gaussians: Gaussians) -> tuple[np.ndarray, dict]:
    """Records of 24 bytes, and the ranges that their shares are of."""
    means, logarithms = gaussians.means.astype(float), np.log(np.maximum(gaussians.scales, _LEAST_SCALE))
    low, high = means.min(0), means.max(0)
    least, most = float(logarithms.min()), float(logarithms.max())
    records = np.empty(len(gaussians), _WORDS)
    records["position"] = np.rint((means - low) / np.maximum(high - low, 1e-20) * 65535)
    records["scale"] = np.rint((logarithms - least) / max(most - least, 1e-20) * 65535)
    records["rgba"] = np.rint(np.clip(np.concatenate([gaussians.colors, gaussians.opacities], 1), 0, 1) * 255)
    records["rotation"] = np.rint(np.clip(gaussians.rotations, -1, 1) * 32767)
    return records, {"low": low.tolist(), "range": (high - low).tolist(), "scales": [least, most - least]}
