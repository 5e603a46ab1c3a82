"""Triplanes: field, volume renderer (rays, samples, compositing), file format."""

from openlrm.representations.triplane.files import load_triplane, save_triplane
from openlrm.representations.triplane.representation import Triplane
from openlrm.representations.triplane.synthesizer import TriplaneSynthesizer

__all__ = ["Triplane", "TriplaneSynthesizer", "load_triplane", "save_triplane"]
