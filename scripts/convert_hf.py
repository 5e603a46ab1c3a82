"""Convert models between the released layout and MindSpore checkpoints; no number changes unless `--half` asks for it.

    python scripts/convert_hf.py to-release outputs/2026-01-31T12-00-00 release --epoch 40
    python scripts/convert_hf.py to-ckpt zxhezexin/openlrm-obj-small-1.1 small/openlrm.ckpt

The released layout is a folder with config.json and model.safetensors, as PyTorch OpenLRM reads it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from openlrm.errors import UserError
from openlrm.launch import exit_code
from openlrm.utils.paths import atomic_path


def to_release(
    source: str, folder: Path, ckpt: str | None = None, epoch: int | None = None, half: bool = False
) -> None:
    """Write a model of any kind in the released layout.

    Args:
        source: run folder, .ckpt file, release folder or hub id.
        folder: gets config.json and model.safetensors.
        ckpt: checkpoint of the run folder; the newest without it.
        epoch: epoch of the checkpoint, instead of its name.
        half: write float16.
    """
    from openlrm.checkpoint import save_model

    located, family, model = _load(source, ckpt, epoch)
    save_model(folder, _config(located, family, model), family.release(model), half)


def to_ckpt(source: str, file: Path) -> None:
    """Write a model of any kind as a MindSpore checkpoint, and config.json beside it when there is none.

    Args:
        source: release folder, hub id, run folder or .ckpt file.
        file: ends in .ckpt.

    Raises:
        UserError: `file` ends otherwise, or a config.json of another model lies beside it.
    """
    if file.suffix != ".ckpt":
        raise UserError(f"a MindSpore checkpoint ends in .ckpt, not {file.suffix!r}", file)
    located, family, model = _load(source)
    from openlrm.checkpoint import parameter_arrays, write_ckpt
    from openlrm.checkpoint.locate import CONFIG_NAME, read_config

    ours = _config(located, family, model)
    config = file.parent / CONFIG_NAME
    if not config.exists():
        with atomic_path(config) as temporary:
            temporary.write_text(json.dumps(ours, indent=2) + "\n", encoding="utf-8")
    elif not _same_model(ours, read_config(config)):
        raise UserError("the config beside the checkpoint is another model's", config, "choose another folder")
    write_ckpt(file, parameter_arrays(model))


def _load(source: str, ckpt: str | None = None, epoch: int | None = None):
    """Where the model is, its family, the model."""
    from openlrm.ops import setup_device

    setup_device("CPU")
    from openlrm.checkpoint import locate_model
    from openlrm.families.reconstructor import build_model, family_of

    located = locate_model(source, ckpt, epoch)
    return located, family_of(located), build_model(located)


def _config(located, family, model) -> dict:
    """Contents of config.json: as released where the source is, with the size of the pictures where a run tells it."""
    from openlrm.families.family import MODEL_TYPE, SOURCE_SIZE
    from openlrm.utils.run_files import trained_source_size

    size = located.config.get(SOURCE_SIZE) or trained_source_size(located.config_file.parent)
    keys = family.config_of(model, size)
    if MODEL_TYPE not in located.config:
        del keys[MODEL_TYPE]
    return keys


def _same_model(ours: dict, theirs: dict) -> bool:
    """Whether two config.json are of one model; keys that one of them leaves out do not count."""
    from openlrm.families import DEFAULT
    from openlrm.families.family import MODEL_TYPE

    first, second = ({MODEL_TYPE: DEFAULT} | keys for keys in (ours, theirs))
    return all(first[key] == second[key] for key in first.keys() & second.keys())


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    release = commands.add_parser("to-release", help="write config.json and model.safetensors")
    release.add_argument("source", help="run folder, .ckpt file, release folder or hub id")
    release.add_argument("folder", type=Path, help="folder to write")
    release.add_argument("--ckpt", help="checkpoint of the run folder; the newest without it")
    release.add_argument("--epoch", type=int, help="epoch of the checkpoint, instead of its name")
    release.add_argument("--half", action="store_true", help="float16: half the size, numbers rounded to 11 bits")
    ckpt = commands.add_parser("to-ckpt", help="write a MindSpore checkpoint")
    ckpt.add_argument("source", help="release folder, hub id, run folder or .ckpt file")
    ckpt.add_argument("file", type=Path, help="file to write, ends in .ckpt")
    arguments = parser.parse_args(argv)
    if arguments.command == "to-release":
        to_release(arguments.source, arguments.folder, arguments.ckpt, arguments.epoch, arguments.half)
        print(f"wrote {arguments.folder}")
    else:
        to_ckpt(arguments.source, arguments.file)
        print(f"wrote {arguments.file}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
