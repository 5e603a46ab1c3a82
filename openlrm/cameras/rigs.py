"""Cameras known by name: where the views stand that other programs make of an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from openlrm.cameras.camera import Camera
from openlrm.cameras.trajectories import orbit
from openlrm.errors import UserError


@dataclass(frozen=True)
class Rig:
    """Cameras on a sphere around the origin that look at it, world Z up.

    Azimuth 0 stands at +X and grows counter-clockwise seen from above, as the programs that make such views count;
    `openlrm.cameras.orbit` counts from the default source camera, at -Y.

    Attributes:
        elevations: degrees above the horizon, of every view, or one for all.
        distance: to the origin, world units.
        fov: field of view of the square pictures, degrees.
        azimuths: degrees, of every view; evenly spread over as many views as there are without them.
        count: number of views, where azimuths do not say it; None for any.
        grid: rows and columns of the sheet they come as, row by row; None where there is none.
        subsets: views that are kept of fewer, by their number; evenly spread ones where it does not say.
    """

    elevations: tuple[float, ...]
    distance: float
    fov: float
    azimuths: tuple[float, ...] | None = None
    count: int | None = None
    grid: tuple[int, int] | None = None
    subsets: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def cameras(
        self,
        count: int,
        *,
        scale: float = 1.0,
        distance: float | None = None,
        elevation: float | None = None,
        fov: float | None = None,
        clockwise: bool = False,
    ) -> Camera:
        """The cameras of `count` views.

        Args:
            count: number of views.
            scale: factor on the distance: below 1 the object comes out smaller.
            distance: instead of the rig's.
            elevation: degrees, instead of the rig's.
            fov: degrees, instead of the rig's.
            clockwise: whether the cameras go round the other way.

        Returns:
            (count,) cameras.

        Raises:
            UserError: another number of views than the rig has, an elevation for a rig whose views differ in it, or
                numbers that make no camera.
        """
        wanted = self.count if self.azimuths is None else len(self.azimuths)
        if wanted is not None and count != wanted:
            raise UserError(f"{count} pictures, but these cameras are {wanted}", hint="name the cameras they have")
        if elevation is not None and len(self.elevations) > 1:
            raise UserError("the elevations of these cameras are fixed", hint="leave the elevation out")
        fov = self.fov if fov is None else fov
        if not 0 < fov < 180:
            raise UserError(f"a field of view of {fov:g} degrees is not between 0 and 180")
        heights = np.broadcast_to(self.elevations if elevation is None else elevation, count)
        angles = np.arange(count) * 360 / count if self.azimuths is None else np.array(self.azimuths)
        angles = -angles if clockwise else angles
        radius = (self.distance if distance is None else distance) * scale
        # `orbit` counts from -Y.
        poses = [orbit(90 + float(at), float(above), radius) for at, above in zip(angles, heights, strict=True)]
        focal = 0.5 / np.tan(np.deg2rad(fov) / 2)
        return Camera(np.stack(poses), (focal, focal, 0.5, 0.5))


RIGS: Mapping[str, Rig] = {
    # zero123++ v1.2; the subset is the one its users reconstruct from four views.
    "zero123plus": Rig(
        elevations=(20, -10, 20, -10, 20, -10),
        distance=4.0,
        fov=30.0,
        azimuths=(30, 90, 150, 210, 270, 330),
        grid=(3, 2),
        subsets={4: (0, 2, 4, 5)},
    ),
    "sv3d": Rig(elevations=(0,), distance=4.0, fov=30.0, count=21),
    "orbit": Rig(elevations=(0,), distance=4.0, fov=30.0),
}
"""Rigs by name, for an object in the cube [-1, 1]^3. A family whose models were trained with others has its own."""


def spread(count: int, total: int) -> tuple[int, ...]:
    """Indices of `count` of `total` views, evenly spread from the first on: floor(total * i / count)."""
    return tuple(total * i // count for i in range(count))
