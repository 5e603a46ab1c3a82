"""Cameras: conventions, poses, paths, normalisation and projection, in numpy.

Start with `openlrm.cameras.conventions`, the page on axes, units and layouts. `Camera` is what the rest of the program
hands around; flat records are made of it where a Cell takes them.
"""

from openlrm.cameras.camera import Camera
from openlrm.cameras.conventions import DEFAULT_DISTANCE, DEFAULT_INTRINSICS, intrinsics_from_pixels
from openlrm.cameras.normalize import normalize_poses
from openlrm.cameras.poses import default_source_pose, look_at, validate_pose
from openlrm.cameras.projection import pixel_rays, project
from openlrm.cameras.trajectories import orbit, surrounding_views, turntable

__all__ = [
    "DEFAULT_DISTANCE",
    "DEFAULT_INTRINSICS",
    "Camera",
    "default_source_pose",
    "intrinsics_from_pixels",
    "look_at",
    "normalize_poses",
    "orbit",
    "pixel_rays",
    "project",
    "surrounding_views",
    "turntable",
    "validate_pose",
]
