"""Convert a released InstantMesh checkpoint, without PyTorch and without running any of its pickle.

    python scripts/instantmesh/convert_pt2ms.py --src instant_mesh_base.ckpt --trgt instant-mesh-base
    python scripts/instantmesh/convert_pt2ms.py --src instant_mesh_base.ckpt --trgt instant-mesh-base/model.ckpt

The target is a folder with config.json and model.safetensors, or a MindSpore .ckpt with config.json beside it. The
sizes are those of the released model that the weights fit.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from openlrm.errors import UserError
from openlrm.launch import exit_code
from openlrm.utils.paths import atomic_path, check_output


def convert(source: Path, target: Path) -> dict:
    """Convert, and return the contents of the config.json written.

    Raises:
        UserError: unreadable, not a released model, or a target that cannot be written.
    """
    from openlrm.checkpoint import apply_tensors, parameter_arrays, read_tensors, save_model, write_ckpt
    from openlrm.checkpoint.locate import CONFIG_NAME
    from openlrm.families import find_family
    from openlrm.ops import setup_device

    check_output(target if target.suffix == ".ckpt" else target / CONFIG_NAME)
    tensors = read_tensors(source)
    setup_device("CPU")
    family = find_family("instantmesh")
    model, preset = _fitting(family, tensors, source)
    expected = {name for name, _ in model.parameters_and_names()}
    apply_tensors(model, family.translate(tensors, expected), str(source))
    config = family.config_of(model, preset.source_size)
    if target.suffix == ".ckpt":
        write_ckpt(target, parameter_arrays(model))
        with atomic_path(target.parent / CONFIG_NAME) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    else:
        save_model(target, config, family.release(model))
    return config


def _fitting(family, tensors: dict, source: Path):
    """The model of the preset whose parameters have the names and shapes of the weights, not set yet."""
    from mindspore.nn.utils import no_init_parameters

    there = sum(value.size for value in family.translate(tensors, set()).values())
    for preset in (preset for preset in family.presets() if preset.parameters == there):
        with no_init_parameters():
            model = family.build(preset.config)
        shapes = {name: tuple(parameter.shape) for name, parameter in model.parameters_and_names()}
        found = family.translate(tensors, set(shapes))
        if {name: value.shape for name, value in found.items()} == shapes:
            return model, preset
    raise UserError("the weights are of no released InstantMesh", source, "write its config.json beside it by hand")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--src", type=Path, required=True, help="released checkpoint: Lightning's .ckpt, or mindone's")
    parser.add_argument("--trgt", type=Path, required=True, help="folder, or file that ends in .ckpt")
    arguments = parser.parse_args(argv)
    config = convert(arguments.src, arguments.trgt)
    print(f"wrote {arguments.trgt} ({config['kind']}, {config['transformer_layers']} layers)")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
