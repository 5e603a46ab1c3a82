"""Options of `infer.FAMILY` for models that make Gaussians, and the files they ask for."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from openlrm.config import option
from openlrm.errors import UserError
from openlrm.utils.logging import get_logger

if TYPE_CHECKING:
    from openlrm.representations.base import Representation

logger = get_logger(__name__)

KINDS = ("ply", "splat", "glb", "html")


@dataclass
class GaussianOutputs:
    """Files of Gaussians, and the page that shows them."""

    export_gaussians: list[str] = option(
        [],
        "files of Gaussians: ply, splat, glb, and html for one page that shows them without a network",
        choices=KINDS,
    )
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    gaussians_dump: Optional[str] = option(  # noqa: UP045
        None, "folder for files of Gaussians; dumps/<model>[/e<epoch>]/gaussians without it"
    )
    viewer_dump: Optional[str] = option(  # noqa: UP045
        None, "folder for their pages; dumps/<model>[/e<epoch>]/viewer without it"
    )
    raw: bool = option(False, "values as they are in the .ply, as the published GeoLRM writes it")
    ply_axes: str = option(
        "world",
        "axes of .ply and .splat: world (z up), or y_down, which most viewers expect",
        choices=["world", "y_down"],
    )
    ply_layout: str = option(
        "compact", "full: with normals and harmonics of 0, for readers of fixed records", choices=["compact", "full"]
    )
    gaussians_scale: float = option(
        1.0, "size of the files' object in the scene's: 0.5 is the published GeoLRM's cube", minimum=1e-6
    )

    def gaussian_targets(self, dumps: Path, uid: str) -> dict[str, Path]:
        """What to write of an object, by its suffix; `dumps` is the model's own folder."""
        files, pages = self.gaussians_dump or dumps / "gaussians", self.viewer_dump or dumps / "viewer"
        return {
            f".{kind}": Path(pages if kind == "html" else files) / f"{uid}.{kind}" for kind in self.export_gaussians
        }

    def write_gaussians(self, scene: Representation, targets: dict[str, Path]) -> None:
        """Write those of the targets that are Gaussians.

        Raises:
            UserError: a scene that is none, or a place that cannot be written.
        """
        wanted = {kind: path for kind, path in targets.items() if kind.removeprefix(".") in self.export_gaussians}
        if not wanted:
            return
        from openlrm.representations.gaussians.representation import GaussianScene

        if not isinstance(scene, GaussianScene):
            raise UserError(f"the model makes no Gaussians but a {scene.describe()}", hint="leave export_gaussians out")
        options = {
            ".ply": {"raw": self.raw, "axes": self.ply_axes, "layout": self.ply_layout, "scale": self.gaussians_scale},
            ".splat": {"axes": self.ply_axes, "scale": self.gaussians_scale},
            ".glb": {"scale": self.gaussians_scale},
        }
        for kind, path in wanted.items():
            start = time.monotonic()
            scene.save(path, **options.get(kind, {"title": path.stem}))
            size, seconds = path.stat().st_size, time.monotonic() - start
            logger.info("wrote %s: %s, %.2f MiB, %.1f s", path, scene.describe(), size / 2**20, seconds)
