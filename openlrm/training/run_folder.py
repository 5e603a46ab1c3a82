"""A run's folder: what was asked for, with which code and data, and where the results are."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from openlrm.config import save_config
from openlrm.config.schema import structured
from openlrm.errors import UserError
from openlrm.utils.paths import atomic_path, ensure_dir
from openlrm.utils.run_files import CONFIG, MANIFEST, UIDS

LOCK = ".lock"
_PACKAGES = ("mindspore", "numpy", "pillow", "safetensors")
# Objects whose file sizes go into the data's hash: a look at every file of a large set would take hours.
_HASHED_OBJECTS = 1000


def new_run_folder(output: str, name: str) -> Path:
    """Make output/name/<time>, a name of its own even when two runs start in one second."""
    stamp = datetime.datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    parent = ensure_dir(Path(output) / name)
    for number in range(100):
        folder = parent / (stamp if number == 0 else f"{stamp}_{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise UserError("too many runs started in this second", parent)


class RunLock:
    """Keeps every other process out of a run's folder until this one ends, however it ends.

    A lock of the process, not of the open file: data workers, which are forked off, do not hold it.

    Args:
        folder: of the run.

    Raises:
        UserError: another run is at work in it.
    """

    def __init__(self, folder: Path):
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self._file = open(ensure_dir(folder) / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 - held until the process ends
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self._file.seek(0)
            who = self._file.read(100).strip() or "unknown"
            self._file.close()
            hint = "wait for it or end it; without resume a run gets a folder of its own"
            raise UserError(f"another run is at work in this folder ({who})", folder, hint) from error
        except OSError:  # a file system without locks
            return
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {platform.node()}")
        self._file.flush()


def find_run(output: str, name: str, resume: str) -> Path:
    """Resolve `resume`: a run folder, or `latest` for the newest of this name that has checkpoints.

    Raises:
        UserError: nothing there.
    """
    if resume != "latest":
        folder = Path(resume)
        if not (folder / CONFIG).is_file():
            raise UserError(f"not a run folder (no {CONFIG})", folder, "give OUTPUT_PATH/NAME/TIME, or resume=latest")
        return folder
    parent = Path(output) / name
    runs = sorted(path.parent for path in parent.glob(f"*/{CONFIG}") if (path.parent / "ckpt").is_dir())
    if not runs:
        raise UserError("no run to go on with", parent, "leave resume out to start one")
    return runs[-1]


def write_run_files(folder: Path, config: object, model_config: dict, uids: Sequence[str], manifest: dict) -> None:
    """Write cfg.yaml, args.txt, config.json (the model's), train_uids.json (for evaluation) and manifest.json."""
    save_config(config, folder / CONFIG)
    _write(folder / "args.txt", shlex.join([sys.executable, *sys.argv]) + "\n")
    _write(folder / "config.json", json.dumps(model_config, indent=2) + "\n")
    _write(folder / UIDS, json.dumps(list(uids), indent=0) + "\n")
    _write(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def changed_options(folder: Path, config: object) -> dict[str, tuple]:
    """Options whose values differ from the run's cfg.yaml: key -> (then, now)."""
    try:
        then = OmegaConf.to_container(OmegaConf.load(folder / CONFIG))
    except Exception as error:
        raise UserError(f"cannot read the run's config ({error})", folder / CONFIG) from error
    # An option that came after the run began has had its default.
    defaults = OmegaConf.to_container(structured(type(config)))
    before, now = _flatten(defaults) | _flatten(then), _flatten(dataclasses.asdict(config))
    return {key: (before.get(key), value) for key, value in now.items() if before.get(key) != value}


def workers_of(folder: Path) -> int:
    """Number of workers a run began with."""
    try:
        return int(json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("workers", 1))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"cannot read the run's manifest ({error})", folder / MANIFEST) from error


def build_manifest(config: object, uids: Sequence[str], roots: Sequence[str], device: str) -> dict:
    """Versions, seed, machine and a hash of the data: what a result has to be compared under."""
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "code": git_commit(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in ("openlrm-mindspore", *_PACKAGES)},
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "device": device},
        "seed": config.seed,
        "data": {"roots": list(roots), "objects": len(uids), "sha256": data_hash(roots, uids)},
    }


def data_hash(roots: Sequence[str], uids: Sequence[str]) -> str:
    """SHA-256 over the uids and, for the first thousand found on this machine, their files' names and sizes."""
    digest = hashlib.sha256("\n".join(uids).encode())
    for uid in uids[:_HASHED_OBJECTS]:
        folder = next((Path(root) / uid for root in roots if (Path(root) / uid).is_dir()), None)
        if folder is not None:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            listing = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files)
            digest.update(listing.encode())
    return digest.hexdigest()


def git_commit() -> str | None:
    """Commit of this code, `+` behind it when files were changed since; None outside a repository."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _flatten(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
