"""OpenLRM for MindSpore: large reconstruction models, from one picture to a 3D object.

    import openlrm

    scene = openlrm.reconstruct("assets/sample_input/building_g.png")
    picture = scene.render(azimuth=30)
    mesh = scene.mesh()
    scene.save("building.glb")

Importing the package loads neither MindSpore nor a model; what is in `__all__` does so when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openlrm.api import load_model, load_scene, reconstruct
    from openlrm.families.lrm import ModelLRM

__version__ = "0.1.0"

__all__ = ["ModelLRM", "__version__", "load_model", "load_scene", "reconstruct"]


def __getattr__(name: str) -> object:
    """Load a public name on first use (PEP 562), so that `--help` stays instant."""
    if name == "ModelLRM":
        from openlrm.families.lrm import ModelLRM

        return ModelLRM
    if name in ("load_model", "load_scene", "reconstruct"):
        from openlrm import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
