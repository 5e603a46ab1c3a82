"""Readers of other programs' data: one file a format, each gives a `Capture`."""

from openlrm.datasets.readers.capture import Capture, View

__all__ = ["Capture", "View"]
