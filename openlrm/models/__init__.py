"""Where `ModelLRM` was before there were several families; kept for programs that import it from here."""

from openlrm.families.lrm import ModelLRM

__all__ = ["ModelLRM"]
