"""Rendered objects on disk, and the training data drawn from them."""

from openlrm.datasets.config import DataConfig, SubsetConfig
from openlrm.datasets.held_out import VALIDATION_LIST, training_list, validation_subsets
from openlrm.datasets.item import Item, collate
from openlrm.datasets.items import TrainItems
from openlrm.datasets.loader import batches_per_epoch, make_loader
from openlrm.datasets.objaverse import ObjaverseObject, list_uids, read_object
from openlrm.datasets.views import PosedViews, ValidationItems, object_views
from openlrm.utils.images import blend

__all__ = [
    "VALIDATION_LIST",
    "DataConfig",
    "Item",
    "ObjaverseObject",
    "PosedViews",
    "SubsetConfig",
    "TrainItems",
    "ValidationItems",
    "batches_per_epoch",
    "blend",
    "collate",
    "list_uids",
    "make_loader",
    "object_views",
    "read_object",
    "training_list",
    "validation_subsets",
]
