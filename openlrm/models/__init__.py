"""Model families and their building blocks."""

from openlrm.models.lrm import ModelLRM

__all__ = ["ModelLRM"]
