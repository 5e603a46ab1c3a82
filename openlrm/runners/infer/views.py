"""Options of `infer.FAMILY` for several posed pictures of one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from openlrm.config import option
from openlrm.errors import UserError

if TYPE_CHECKING:
    from openlrm.families.family import Family
    from openlrm.preprocess.posed_views import PosedViews


@dataclass
class ViewsInput:
    """Views of one object with their cameras, instead of single pictures."""

    views: list[str] = option(
        [],
        "posed pictures of one object, instead of image_input: its folder or transforms.json; with cameras=NAME a "
        "sheet, a video, a folder of pictures, or several pictures",
    )
    # Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10.
    cameras: Optional[str] = option(  # noqa: UP045
        None,
        "cameras of views: folder (what views tells itself), zero123plus, sv3d, orbit, or a transforms.json; "
        "folder without it",
    )
    view: Optional[int] = option(None, "keep so many of the views", minimum=1)  # noqa: UP045
    view_indices: list[int] = option([], "keep the views of these numbers, from 0 on", minimum=0)
    grid: list[int] = option([], "rows and columns of a sheet, where the cameras do not say it", minimum=1)
    scale: float = option(1.0, "factor on the distances of the cameras of views: less makes the object smaller")
    camera_distance: Optional[float] = option(  # noqa: UP045
        None, "distance of named cameras; their own without it", minimum=0.1, maximum=100
    )
    camera_elevation: Optional[float] = option(  # noqa: UP045
        None, "elevation of named cameras in degrees, if it is one for all", minimum=-90, maximum=90
    )
    camera_fov: Optional[float] = option(  # noqa: UP045
        None, "field of view of named cameras in degrees", minimum=1, maximum=179
    )
    camera_clockwise: bool = option(False, "named cameras go round clockwise, seen from above")
    normalize: str = option(
        "auto",
        "world of the cameras: none as they are; source the first is the canonical one; object centred and scaled by "
        "what can be seen; auto what the family was trained with",
        choices=["auto", "none", "source", "object"],
    )

    def check_views(self) -> None:
        """Refuse what needs views without them, and a grid that is none.

        Raises:
            UserError: likewise.
        """
        if self.grid and len(self.grid) != 2:
            raise UserError(f"grid={self.grid} is not rows and columns", hint="such as grid=3,2")
        if self.cameras and not self.views:
            raise UserError("cameras without views", hint="views=... instead of image_input takes posed pictures")

    def views_name(self) -> str:
        """What results are called after."""
        path = Path(self.views[0]).expanduser().resolve()
        named = path.parent if len(self.views) > 1 or path.name.startswith("transforms") else path
        return (named.name if named.is_dir() else named.stem) or "views"

    def read_views(self, family: Family) -> PosedViews:
        """Read the views as a model of this family takes them.

        Raises:
            UserError: see `openlrm.preprocess.posed_views.read_posed_views`.
        """
        from openlrm.preprocess.posed_views import read_posed_views

        return read_posed_views(
            self.views,
            cameras=self.cameras,
            indices=self.view_indices,
            count=self.view,
            grid=tuple(self.grid) or None,
            scale=self.scale,
            distance=self.camera_distance,
            elevation=self.camera_elevation,
            fov=self.camera_fov,
            clockwise=self.camera_clockwise,
            normalize=family.normalize if self.normalize == "auto" else self.normalize,
            background=self.background,
            rigs=family.rigs,
        )
