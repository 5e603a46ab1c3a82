"""How objects are rendered: the options of the Blender script, typed."""

from __future__ import annotations

import dataclasses
import os
from typing import Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.errors import UserError

_PATHS = ("camera_file", "environment_map")


@dataclasses.dataclass
class RenderSettings:
    """What makes the pictures: two sets of the same settings belong together."""

    views: int = option(32, "views of an object", minimum=1)
    resolution: int = option(512, "side of the square views, pixels", minimum=1)
    samples: int = option(32, "light paths for a pixel", minimum=1)
    seed: int = option(0, "of cameras and sampling", minimum=0, maximum=MAX_SEED)
    denoise: bool = option(True, "remove Cycles' noise (OpenImageDenoise)")
    camera: str = option(
        "random",
        "random: the first view frontal, the others anywhere in the ranges; orbit: a circle; sphere: evenly spread; "
        "file: camera_file",
        choices=["random", "orbit", "sphere", "file"],
    )
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    camera_file: Optional[str] = option(  # noqa: UP045
        None, ".npy or .json with (views, 3, 4) camera-to-world, Blender's axes"
    )
    distance: list[float] = option([1.9, 2.6], "least and greatest distance of the cameras, world units")
    height: list[float] = option([-0.75, 1.6], "least and greatest z of the cameras, world units")
    level_views: int = option(
        1, "of camera=random: how many views, the first ones, are at height 0 (for data.source_views)", minimum=1
    )
    focal: float = option(0.75, "focal length over image width")
    object_size: float = option(1.6, "longest side of the object in the cube of side 2")
    up_axis: Optional[str] = option(  # noqa: UP045
        None, "of obj, ply and stl files; Y for obj and Z for the others without it", choices=["Y", "Z"]
    )
    light: str = option(
        "sun",
        "sun: a white sky and a sun; environment: the sky alone; area: three large lamps",
        choices=["sun", "environment", "area"],
    )
    light_strength: float = option(1.0, "factor of all light")
    environment_map: Optional[str] = option(None, "panorama (.hdr, .exr) instead of the white sky")  # noqa: UP045
    maps: list[str] = option([], "further pictures of every view", choices=["depth", "normal", "albedo"])
    renderer: str = option("cycles", "eevee needs a GPU to be fast", choices=["cycles", "eevee"])
    device: str = option(
        "auto",
        "of Cycles; auto takes the first GPU that is there, else the CPU",
        choices=["auto", "cpu", "optix", "cuda", "hip", "metal", "oneapi"],
    )

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            UserError: a number that is not positive, a range that is not two numbers, or a camera file without use.
        """
        for name in ("focal", "object_size", "light_strength"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"render.{name}={getattr(self, name)} is not positive")
        for name in ("distance", "height"):
            if len(getattr(self, name)) != 2:
                raise UserError(f"render.{name}={getattr(self, name)} is not a least and a greatest value")
        if (self.camera == "file") != (self.camera_file is not None):
            raise UserError("render.camera=file and render.camera_file belong together")

    def arguments(self) -> list[str]:
        """Return them as arguments of the Blender script."""
        found = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool):
                found.append(f"--{field.name}" if value else f"--no-{field.name}")
            elif isinstance(value, list):
                found += [f"--{field.name}", *map(str, value)] if value else []
            elif value is not None:
                # A task on a cluster runs in a folder of its own.
                text = os.path.abspath(value) if field.name in _PATHS else str(value)
                found += [f"--{field.name}", text]
        return found
