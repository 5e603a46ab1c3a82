"""3D Gaussians: the record, files of several kinds, a page that shows them; no MindSpore but in `activation`."""

from openlrm.representations.gaussians.files import read_gaussians, save_gaussians
from openlrm.representations.gaussians.record import Gaussians
from openlrm.representations.gaussians.viewer import save_viewer

__all__ = ["Gaussians", "read_gaussians", "save_gaussians", "save_viewer"]
