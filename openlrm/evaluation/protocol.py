"""What the figures of an evaluation have to be compared under."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

from openlrm import __version__
from openlrm.evaluation.config import EvalConfig
from openlrm.evaluation.named import hash_of
from openlrm.evaluation.scores import INSIDE, PSNR_LIMIT

if TYPE_CHECKING:
    from openlrm.checkpoint import LocatedModel

_PACKAGES = ("mindspore", "numpy", "scikit-image", "scipy")


def build_protocol(
    config: EvalConfig,
    located: LocatedModel,
    device: tuple[str, str],
    roots: list[str],
    objects: dict[str, dict[str, Any]],
    source_size: int,
    cameras: tuple[bool, str | float],
    without_lpips: str | None,
) -> dict[str, Any]:
    """Describe model, data, views, metrics, device and versions.

    Args:
        config: the options given.
        located: the model.
        device: device target in use, and what the products were in.
        roots: folders of objects.
        objects: uid -> result with its `views`.
        source_size: side in pixels of the input.
        cameras: whether they were turned, and the distance of the source camera after it.
        without_lpips: why LPIPS was left out; None when it was measured.
    """
    from openlrm.training.run_folder import git_commit

    return {
        "protocol": {"name": config.protocol, "objects_sha256": hash_of(list(objects))},
        "model": {
            "name": located.name,
            "weights": str(located.weights),
            "epoch": located.epoch,
            "config": located.config,
        },
        "data": {
            "roots": list(roots),
            "objects": list(objects),
            "views_per_object": sorted({len(entry["views"]) for entry in objects.values()}),
        },
        "input": {"view": 0, "size": source_size, "background": 1.0},
        "views": {
            "rendered": "all, each with its own camera",
            "size": config.render_size or "as stored",
            "background": config.background,
            "input_view_counts": config.count_input_view,
        },
        "cameras": {"normalized": cameras[0], "distance": cameras[1]},
        "metrics": {
            "psnr": f"mean over views, then over objects; equal pictures count {PSNR_LIMIT:g} dB",
            "ssim": "Gaussian window of 11 pixels, sigma 1.5; mean over views, then over objects",
            "lpips": f"left out: {without_lpips}" if without_lpips else f"VGG16 ({config.lpips_backbone}), version 0.1",
            "psnr_object": f"of the pixels with alpha > {INSIDE:g} of all views of an object together",
            "mask_iou": f"of opacity > {INSIDE:g} and alpha > {INSIDE:g}",
            "seconds": "planes: encoder and transformer; render: all views. The mean is the median over objects",
            "mesh": _mesh(config),
        },
        "device": {
            "target": device[0],
            "precision": device[1],
            "mode": "PyNative" if config.mode else "graph",
            "renderer": config.renderer,
            "machine": platform.platform(),
        },
        "versions": {"openlrm": __version__, "code": git_commit(), "python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in _PACKAGES},
        "options": dataclasses.asdict(config),
    }


_ALIGNED = {
    "box": "bounding boxes centred and scaled to a longest side of 2",
    "search": "points minus their mean over the larger of x and y extents in the source camera's axes, the best of "
    "24 x 24 x 12 rotations",
}


def _mesh(config: EvalConfig) -> str:
    if config.mesh_root is None:
        return "not measured: no mesh_root"
    return (
        f"marching cubes on {config.mesh_size}^3 points at density {config.mesh_thres:g}; "
        f"{_ALIGNED[config.mesh_alignment]}; {config.mesh_points} points on each mesh; accuracy and completeness are "
        "mean distances to and from the truth, chamfer is the mean of the two"
    )
