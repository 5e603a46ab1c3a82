"""What `--dry_run` prints: the config as YAML, what is known about the job as comments behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openlrm.config import to_yaml

if TYPE_CHECKING:
    from mindspore import nn

    from openlrm.checkpoint import LocatedModel

# Files named one by one; a folder of pictures may hold thousands.
_LISTED = 20


def print_config(config: Any) -> None:
    """Print every option as YAML that `--config` reads back; a run from it is no dry one."""
    print(to_yaml(dataclasses.replace(config, dry_run=False)), end="", flush=True)


def print_facts(lines: Iterable[str]) -> None:
    """Print lines as YAML comments."""
    for line in lines:
        print(f"# {line}", flush=True)


def model_fact(located: LocatedModel, model: nn.Cell) -> str:
    """Name, weights and size of a model."""
    count = sum(parameter.size for parameter in model.get_parameters())
    return f"model {located.name}, {located.weights}: {count / 1e6:.2f} M parameters, {4 * count / 2**20:.0f} MiB"


def output_facts(paths: Iterable[Path]) -> list[str]:
    """Files that would be written, and which of them are there already."""
    paths = list(paths)
    lines = [f"writes {path}{' (replaces the one there)' if path.exists() else ''}" for path in paths[:_LISTED]]
    return lines + ([f"and {len(paths) - _LISTED} more files"] if len(paths) > _LISTED else [])
