"""GeoLRMs with a name."""

from __future__ import annotations

from openlrm.families.family import Preset

SOURCE_SIZE = 560
"""Side of the pictures of the published model in inference; it was trained with 448."""

PRESETS = (
    Preset(
        "geolrm",
        {"attention": "auto"},
        parameters=334_559_376,
        source_size=SOURCE_SIZE,
        memory_gib=None,
        source="geolrm.ckpt of the published GeoLRM, alone in a folder; not read here yet: memory not measured",
    ),
)
