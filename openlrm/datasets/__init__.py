"""Rendered objects on disk, and the training data drawn from them."""

from openlrm.datasets.config import DataConfig, SubsetConfig
from openlrm.datasets.objaverse import ObjaverseObject, blend, list_uids, read_object

__all__ = ["DataConfig", "ObjaverseObject", "SubsetConfig", "blend", "list_uids", "read_object"]
