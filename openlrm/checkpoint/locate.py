"""Find a model by name: release folder, run folder, checkpoint file or hub id."""

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path

from openlrm.checkpoint.files import INDEX_SUFFIX, read_index
from openlrm.errors import UserError
from openlrm.utils.file_kind import PICKLE_HINT, refuse_other_kinds
from openlrm.utils.hub import hub_files, telling
from openlrm.utils.run_files import CONFIG as RUN_CONFIG
from openlrm.utils.texts import decode
from openlrm.utils.tree import is_hidden

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
RELEASED = {
    "geolrm": {"model_type": "geolrm", "attention": "auto"},
    "srl-bf16": {"model_type": "geolrm", "networks": "proposal"},
}
"""Config of files that are released without a config.json, by their names: what is left out is as published."""
INDEX_NAME = f"model{INDEX_SUFFIX}"
PARTS = "model-*-of-*.safetensors"
_WEIGHTS = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_EPOCH = re.compile(r"-e(\d+)\.ckpt$")


@dataclass(frozen=True)
class LocatedModel:
    """Where a model was found.

    Attributes:
        name: short name: of the release's or the run's folder, or the hub's.
        config: contents of config.json.
        weights: the .safetensors or .ckpt file, or the index of several.
        config_file: the config.json, for messages.
    """

    name: str
    config: dict
    weights: Path
    config_file: Path

    @property
    def version(self) -> str:
        """Which of the weights of that name: `release`, `e<epoch>`, or the name of another file."""
        if self.weights.name == WEIGHTS_NAME:
            return "release"
        return f"e{self.epoch}" if self.epoch is not None else self.weights.stem

    @property
    def results(self) -> Path:
        """Folder, below others, that holds this model's results and no other's: NAME, of a checkpoint NAME/e<epoch>.

        The runs of `train.lrm` are called after the time they began at, so the experiment's name comes before it.
        """
        if self.version == "release":
            return Path(self.name)
        run = self.config_file.resolve().parent
        experiment = run.parent.name if (run / RUN_CONFIG).is_file() else ""
        return Path(experiment, run.name, self.version)

    @property
    def epoch(self) -> int | None:
        """Epoch in the name of the weights' file, if any."""
        named = _EPOCH.search(self.weights.name)
        return int(named.group(1)) if named else None


def locate_model(name: str, ckpt: str | None = None, epoch: int | None = None) -> LocatedModel:
    """Resolve `model_name` and the optional `model_ckpt` / `epoch`.

    Args:
        name: a folder (release or run), a checkpoint file, or a hub id such as `user/model`.
        ckpt: a checkpoint inside the run folder (also in its ckpt/) or a path of its own.
        epoch: epoch of the checkpoint to take, or to confirm when `ckpt` is given.

    Raises:
        UserError: nothing there, no config, or `ckpt` and `epoch` disagree.
    """
    path = Path(name).expanduser()
    if path.is_file():
        if ckpt is not None:
            raise UserError("model_name is a file already", name, "give either that file or a folder with model_ckpt")
        if fnmatch.fnmatch(path.name, PARTS):
            raise UserError("the file is one part of the weights", name, "give the folder that holds all of them")
        config_file = _config_beside(path)
        return _located(config_file.resolve().parent.name, path, config_file)
    if path.is_dir():
        weights = _weights_in(path, ckpt, epoch)
        return _located(path.resolve().name, weights, _config_beside(weights, path))
    if _HUB_ID.fullmatch(name) and path.suffix != ".ckpt" and not name.startswith((".", "/")):
        return _located(name.split("/")[1], *_fetch(name))
    raise UserError(
        "model not found",
        name,
        "give a folder with config.json and model.safetensors, a run folder, or a .ckpt file",
    )


def read_config(path: Path) -> dict:
    """Read config.json; UserError when it is missing or not a JSON object."""
    try:
        config = json.loads(decode(path.read_bytes()))
    except FileNotFoundError as error:
        raise UserError(f"{CONFIG_NAME} not found", str(path.parent), "put the model's config.json there") from error
    except (OSError, ValueError, RecursionError) as error:
        if path.is_file() and not path.read_bytes().lstrip().startswith(b"{"):
            refuse_other_kinds(path, "the model's config")
        raise UserError(f"unreadable model config ({error})", str(path)) from error
    if not isinstance(config, dict):
        raise UserError("the model config is not a JSON object", str(path))
    return config


def _located(name: str, weights: Path, config_file: Path) -> LocatedModel:
    released = RELEASED.get(weights.stem)
    config = dict(released) if released and not config_file.is_file() else read_config(config_file)
    return LocatedModel(name, config, weights, config_file)


def _config_beside(weights: Path, *also: Path) -> Path:
    """config.json beside the weights, in the run folder above, or in `also`; the first place if nowhere."""
    places = [weights.parent, weights.parent.parent, *also]
    return next((p / CONFIG_NAME for p in places if (p / CONFIG_NAME).is_file()), weights.parent / CONFIG_NAME)


def _weights_in(folder: Path, ckpt: str | None, epoch: int | None) -> Path:
    if ckpt is not None:
        candidates = [folder / ckpt, folder / "ckpt" / ckpt, Path(ckpt)]
        found = next((c for c in candidates if c.is_file()), None)
        if found is None:
            raise UserError(f"model_ckpt={ckpt} not found", str(folder), _listing(folder))
        named = _EPOCH.search(found.name)
        if epoch is not None and named and int(named.group(1)) != epoch:
            raise UserError(f"epoch={epoch}, but model_ckpt is of epoch {named.group(1)}", str(found))
        return found
    by_epoch = {int(_EPOCH.search(p.name).group(1)): p for p in _checkpoints(folder) if _EPOCH.search(p.name)}
    if epoch is not None:
        if epoch not in by_epoch:
            raise UserError(f"no checkpoint of epoch {epoch}", str(folder), _listing(folder))
        return by_epoch[epoch]
    if (folder / WEIGHTS_NAME).is_file():
        return folder / WEIGHTS_NAME
    if (folder / INDEX_NAME).is_file():
        return folder / INDEX_NAME
    if by_epoch:
        return by_epoch[max(by_epoch)]
    if parts := sorted(folder.glob(PARTS)):
        what = f"{parts[0].name} is a part of the weights, and {INDEX_NAME} is missing"
        raise UserError(what, str(folder), "download that file and all parts into the folder")
    others = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS and path.is_file())
    if len(others) == 1:
        # Whatever it is, reading it says so.
        return others[0]
    hint = f"choose one with model_ckpt={others[0].name}" if others else "is it a model folder?"
    raise UserError(f"no {WEIGHTS_NAME} and no ckpt/*-e<epoch>.ckpt", str(folder), hint)


def _checkpoints(folder: Path) -> list[Path]:
    found = [*folder.glob("*.ckpt"), *folder.glob("ckpt/*.ckpt")]
    return sorted(path for path in found if not is_hidden(path.name))


def _listing(folder: Path) -> str:
    names = [p.name for p in _checkpoints(folder)]
    return f"there: {', '.join(names[-8:])}" if names else "no .ckpt file is there"


def _fetch(repo_id: str) -> tuple[Path, Path]:
    """Download a model from the hub, or take it from the hub's cache; return weights and config."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    hint = (
        f"where the hub is reachable run 'hf download {repo_id} {CONFIG_NAME} {WEIGHTS_NAME} --local-dir <folder>', "
        f"bring the folder here and give model_name=<folder>"
    )
    with telling("no such folder here, and the hub is not reachable", repo_id, hint):
        try:
            folder = Path(snapshot_download(repo_id, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME, INDEX_NAME, PARTS]))
        except RepositoryNotFoundError as error:
            raise UserError("no such folder here, and no such model on the hub", repo_id, hint) from error
    index = folder / INDEX_NAME
    weights = folder / WEIGHTS_NAME if (folder / WEIGHTS_NAME).is_file() or not index.is_file() else index
    wanted = [CONFIG_NAME, *(read_index(index) if weights == index else [WEIGHTS_NAME])]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if not missing:
        return weights, folder / CONFIG_NAME
    there = hub_files(repo_id)
    if there is None:
        what = f"the hub's cache holds half of the model, without {missing[0]}, and the hub is not reachable"
        raise UserError(what, folder, hint)
    if missing[0] in there:
        raise UserError(f"{missing[0]} was not downloaded", folder, f"remove that folder, or: {hint}")
    if others := [name for name in there if name.endswith(_WEIGHTS)]:
        raise UserError(f"the hub's model has no {missing[0]}, only {others[0]}", repo_id, PICKLE_HINT)
    raise UserError(f"the hub's model has no {missing[0]}", repo_id, "is it a model of this kind?")
