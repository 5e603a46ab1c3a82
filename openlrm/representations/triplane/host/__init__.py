"""Rendering on the host's cores without a framework: numpy outside, compiled loops (numba) inside."""

from openlrm.representations.triplane.host.renderer import HostRenderer

__all__ = ["HostRenderer"]
