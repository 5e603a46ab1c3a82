"""What a family makes of pictures, a folder each: how it is rendered, meshed, written and read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openlrm.representations.base import Representation


def read_representation(path: str | os.PathLike, renderer: str = "auto") -> Representation:
    """Read what `Representation.write` wrote.

    Args:
        path: of the file.
        renderer: see `openlrm.representations.triplane.Triplane`.

    Raises:
        UserError: missing, damaged, or no such file.
    """
    from openlrm.representations.triplane import Triplane

    return Triplane.read(path, renderer)
