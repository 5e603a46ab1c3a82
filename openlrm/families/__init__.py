"""Model families, a folder each, in one table that imports them when they are asked for.

A family outside this package registers by an entry point of the group `openlrm.families`: its name is the
`model_type`, its value the class.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from openlrm.config.schema import nearest
from openlrm.errors import UserError

if TYPE_CHECKING:
    from openlrm.families.family import Family

GROUP = "openlrm.families"
DEFAULT = "lrm"
"""Family of a config.json that names none: those of released LRMs do not."""

_OURS = {
    "lrm": "openlrm.families.lrm.family:LRM",
    "geolrm": "openlrm.families.geolrm.family:GeoLRMFamily",
    "instantmesh": "openlrm.families.instantmesh.family:InstantMesh",
}


@functools.cache
def family_table() -> Mapping[str, str]:
    """Name -> "module:Class" of every family, ours first."""
    theirs = {point.name: point.value for point in importlib.metadata.entry_points(group=GROUP)}
    return _OURS | {name: value for name, value in sorted(theirs.items()) if name not in _OURS}


@functools.cache
def find_family(name: str) -> Family:
    """A family by its `model_type`.

    Raises:
        UserError: there is none of that name, or its module cannot be imported.
    """
    table = family_table()
    if not isinstance(name, str) or name not in table:
        near = nearest(str(name), table)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(table)}"
        raise UserError(f"no model family {name!r}", hint=hint)
    module, _, attribute = table[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError) as error:
        raise UserError(f"the model family {name!r} cannot be loaded ({error})", table[name]) from error
