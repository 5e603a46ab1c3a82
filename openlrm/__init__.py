"""OpenLRM for MindSpore: large reconstruction models, from one picture to a 3D object.

Importing the package loads neither MindSpore nor a model; `openlrm.ModelLRM` does so when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openlrm.models import ModelLRM

__version__ = "0.1.0"

__all__ = ["ModelLRM", "__version__"]


def __getattr__(name: str) -> object:
    """Load the model class on first use (PEP 562), so that `--help` stays instant."""
    if name == "ModelLRM":
        from openlrm.models import ModelLRM

        return ModelLRM
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
