"""The LRM family: one picture to one triplane (Hong et al., 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openlrm.families.lrm.config import LRMConfig
    from openlrm.families.lrm.model import ModelLRM

__all__ = ["LRMConfig", "ModelLRM"]


def __getattr__(name: str) -> object:
    """Import on first use (PEP 562): the options of a family are read without MindSpore."""
    if name == "ModelLRM":
        from openlrm.families.lrm.model import ModelLRM

        return ModelLRM
    if name == "LRMConfig":
        from openlrm.families.lrm.config import LRMConfig

        return LRMConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
