"""The LRM family: one image to one triplane."""

from openlrm.models.lrm.config import LRMConfig
from openlrm.models.lrm.model import ModelLRM

__all__ = ["LRMConfig", "ModelLRM"]
