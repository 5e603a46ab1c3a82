"""`models`: which families of models there are, and which of their models have a name."""

from __future__ import annotations

import json
from dataclasses import dataclass

from openlrm.config import option
from openlrm.runners.base import Runner


@dataclass
class ModelsConfig:
    """Options of `models`."""

    as_json: bool = option(False, "print JSON, config.json of each preset included")


class Models(Runner):
    """Print the table of families."""

    Config = ModelsConfig
    summary = (
        "List the model families, their commands and presets: parameters, side of the pictures, peak memory of "
        "pictures to representation on a CPU, and where the figures come from."
    )
    examples = ("python -m openlrm.launch models", "python -m openlrm.launch models as_json=true")

    def run(self) -> int:
        """Print; nothing is built and nothing is fetched."""
        from openlrm.families import family_table, find_family

        families = [find_family(name) for name in family_table()]
        if self.config.as_json:
            listed = {
                f.name: {"summary": f.summary, "sources": f.sources, "presets": [vars(p) for p in f.presets()]}
                for f in families
            }
            print(json.dumps(listed, indent=2))
            return 0
        for family in families:
            least, most = family.sources
            pictures = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
            print(f"{family.name}: {family.summary}")
            print(
                f"  source pictures: {pictures}; commands: train.{family.name}, infer.{family.name}, eval.{family.name}"
            )
            for preset in family.presets():
                memory = "not measured" if preset.memory_gib is None else f"{preset.memory_gib:.2f} GiB"
                size = f"{preset.parameters / 1e6:8.1f} M parameters, {preset.source_size:4d} px, peak {memory}"
                print(f"  {preset.name:12} {size}; {preset.source}")
        return 0
