"""Several workers, started by msrun: who they are, what they tell each other, gradients summed over all of them."""

from openlrm.parallel.world import ALONE, World, setup_world

__all__ = ["ALONE", "World", "setup_world"]
