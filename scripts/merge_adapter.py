"""Put an adapter into its model: a release folder that needs no adapter.

python scripts/merge_adapter.py assets/openlrm-tiny-demo my-adapter merged
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from openlrm.launch import exit_code


def merge_adapter(source: str, adapter: Path, folder: Path) -> None:
    """Merge and write config.json and model.safetensors.

    Args:
        source: release folder, run folder, checkpoint or hub id.
        adapter: folder with adapter_config.json and adapter_model.safetensors.
        folder: gets the release.
    """
    from openlrm.ops import setup_device

    setup_device("CPU")
    from openlrm.models import ModelLRM

    model = ModelLRM.from_pretrained(source, adapter=str(adapter))
    model.merge_adapter()
    model.save_pretrained(str(folder))


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="release folder, run folder, checkpoint or hub id")
    parser.add_argument("adapter", type=Path, help="adapter folder")
    parser.add_argument("out", type=Path, help="release folder to write")
    arguments = parser.parse_args(argv)
    merge_adapter(arguments.model, arguments.adapter, arguments.out)
    print(f"wrote {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
