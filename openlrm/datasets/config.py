"""What training data consists of and how items are drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from openlrm.config import option
from openlrm.errors import UserError


@dataclass
class SubsetConfig:
    """Objects that belong together, in one or several folders."""

    root_dirs: list[str] = option(help="folders or fsspec addresses (s3://...); an object is taken from the first")
    name: str = option(
        "objaverse", "objaverse: folders of loose files; mindrecord: packs of them", choices=["objaverse", "mindrecord"]
    )
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    meta_path: Optional[str] = option(None, "JSON list of uids; meta.json in the first folder without it")  # noqa: UP045
    sample_rate: float = option(1.0, "times that an object comes up in an epoch: 0.1 a tenth of them, 2 all twice")

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            UserError: no folder, or a rate that is not positive.
        """
        if not self.root_dirs:
            raise UserError("a subset without folders", "subsets", "give its root_dirs")
        if not 0 < self.sample_rate < float("inf"):
            raise UserError(f"sample_rate={self.sample_rate} is not positive", "subsets", "leave the subset out")


@dataclass
class DataConfig:
    """Training data: the subsets that are mixed, and what is drawn of every object."""

    subsets: list[SubsetConfig] = option(help="sets of objects that are mixed")
    sample_side_views: int = option(3, "views rendered beside the source view", minimum=0)
    source_image_res: int = option(224, "side in pixels of the model's input", minimum=16)
    render_image_low: int = option(64, "least side in pixels of a whole target image", minimum=2)
    render_image_high: int = option(192, "greatest side in pixels of a whole target image", minimum=2)
    render_region_size: int = option(64, "side in pixels of the region cut out of it", minimum=1)
    backgrounds: list[float] = option([0.0, 0.5, 1.0], "grey levels that views are put on", minimum=0, maximum=1)
    normalize_camera: bool = option(True, "turn every object so that the source camera is the canonical one")
    normed_dist_to_center: Union[str, float] = option(  # noqa: UP007
        "auto", "distance of the source camera after that: auto keeps its own"
    )
    held_out_views: list[int] = option([], "indices of views that are never drawn, for validation", minimum=0)
    source_views: list[int] = option(
        [], "indices of the views that the source is drawn from; all without these", minimum=0
    )
    max_broken: int = option(100, "broken objects that are passed over before training stops", minimum=0)
    cache_mib: int = option(256, "decoded views kept in memory by every worker, MiB", minimum=0)

    def __post_init__(self) -> None:
        """Check what no single option can.

        Raises:
            UserError: no subset or background, sizes that contradict each other, a source view that is held out, or
                a distance that is neither `auto` nor positive.
        """
        if not self.subsets:
            raise UserError("no data", "subsets", "give at least one set of objects")
        if not self.backgrounds:
            raise UserError("no background", "backgrounds", "give at least one grey level, such as 1")
        sizes = (self.render_region_size, self.render_image_low, self.render_image_high)
        if not sizes[0] <= sizes[1] <= sizes[2]:
            what = "render_region_size={}, render_image_low={} and render_image_high={} do not ascend".format(*sizes)
            raise UserError(what, hint="a region is cut out of an image of low..high pixels")
        if both := sorted(set(self.source_views) & set(self.held_out_views)):
            hint = "a held-out view is never drawn: take it out of one of the two"
            raise UserError(f"view {both[0]} is in source_views and in held_out_views", hint=hint)
        distance = self.normed_dist_to_center
        if distance != "auto" and not (isinstance(distance, (int, float)) and 0 < distance < float("inf")):
            raise UserError(f"normed_dist_to_center={distance} is neither auto nor a positive number")
