"""Training of a GeoLRM's two stages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from openlrm.errors import UserError

if TYPE_CHECKING:
    from openlrm.families.family import Family
    from openlrm.families.geolrm.options import TrainGeoLRMConfig
    from openlrm.parallel import World


def make_task(family: Family, config: TrainGeoLRMConfig, world: World, resumed: bool) -> NoReturn:
    """Not there yet.

    Raises:
        UserError: always.
    """
    raise UserError("GeoLRM cannot be trained yet", hint="infer.geolrm and openlrm.reconstruct are there")
