"""Readers of rendered objects on disk."""

from openlrm.datasets.objaverse import ObjaverseObject, blend, list_uids, read_object

__all__ = ["ObjaverseObject", "blend", "list_uids", "read_object"]
