"""NeRF rendering of a triplane: rays, samples, field, compositing."""

from openlrm.models.rendering.synthesizer import TriplaneSynthesizer

__all__ = ["TriplaneSynthesizer"]
