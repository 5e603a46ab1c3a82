"""A diagnosis from beginning to end: one model, objects one by one, experiments that are not done yet."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from openlrm import __version__
from openlrm.api import default_model
from openlrm.checkpoint import locate_model
from openlrm.checkpoint.adapter import weight_hash
from openlrm.diagnosis import config as options_module
from openlrm.diagnosis.config import DiagnosisOptions
from openlrm.diagnosis.correction import correction, decomposition
from openlrm.diagnosis.nullspace import nullspace
from openlrm.diagnosis.objects import Subject, list_objects, read_subject
from openlrm.diagnosis.oracle import oracle
from openlrm.diagnosis.refine import refine
from openlrm.diagnosis.residual import residual
from openlrm.diagnosis.spectrum import spectrum
from openlrm.diagnosis.store import (
    NAMES,
    find_reference,
    is_done,
    read_reference,
    result_file,
    write_reference,
    write_result,
)
from openlrm.diagnosis.study import Outcome, Study
from openlrm.diagnosis.transfer import transfer
from openlrm.diagnosis.visibility import visibility
from openlrm.families.reconstructor import Reconstructor
from openlrm.nn.transformer.lora import adapters_of
from openlrm.utils.logging import get_logger
from openlrm.utils.run_files import read_training

logger = get_logger(__name__)

OPTIONS = {
    "oracle": "OracleOptions",
    "residual": "SurfaceOptions",
    "visibility": "VisibilityOptions",
    "transfer": "TransferOptions",
    "correction": "CorrectionOptions",
    "decomposition": "DecompositionOptions",
    "nullspace": "NullspaceOptions",
    "refine": "RefineOptions",
}
"""Experiment -> the class of `openlrm.diagnosis.config` with its own options."""
_EXPERIMENTS = {
    "residual": residual,
    "visibility": visibility,
    "transfer": transfer,
    "correction": correction,
    "decomposition": decomposition,
    "nullspace": nullspace,
}


class Session:
    """One model, told one kind of source camera.

    Args:
        config: options of an experiment, or of all of them.

    Raises:
        UserError: a model, adapter or list of objects that cannot be read.
    """

    def __init__(self, config: DiagnosisOptions):
        self.config, self.folder = config, Path(config.output)
        located = locate_model(str(config.model_name or default_model()))
        self.uids = list(config.uids) or list_objects(config.data_root, "val")
        self.trained_on = read_training(located.config_file.parent).uids
        self.reconstructor = Reconstructor.load(located, config.source_size, adapter=config.adapter)
        self.model_hash = identity(self.reconstructor.model)
        self.subject = lru_cache(maxsize=1)(self._subject)
        self._predicted = lru_cache(maxsize=1)(lambda uid: self.subject(uid).predict(self.reconstructor))

    def run(self, experiment: str, uid: str) -> bool:
        """Do an experiment on an object unless it is done; whether it was.

        Raises:
            UserError: a result with other options is there, or what the experiment refuses.
        """
        path = result_file(self.folder, experiment, uid)
        protocol = self._protocol(experiment, uid)
        if is_done(path, protocol):
            logger.info("%s of %s is there already", experiment, uid)
            return False
        logger.info("%s of %s", experiment, uid)
        start = time.monotonic()
        outcome = self._oracle(uid) if experiment == "oracle" else self._experiment(experiment, uid)
        write_result(path, protocol, outcome, time.monotonic() - start)
        logger.info("wrote %s (%.0f s)", path, time.monotonic() - start)
        return True

    def study(self, uid: str) -> Study:
        """An object with the model's planes and the reference.

        Raises:
            UserError: no reference, or another model's or object's.
        """
        cfg, subject, predicted = self.config, self.subject(uid), self._predicted(uid)
        path = find_reference(getattr(cfg, "triplane_path", None), self.folder, uid)
        logger.info("reference planes %s", path)
        shape = tuple(predicted.planes.shape[1:])
        prediction, reference = read_reference(path, uid, self.model_hash, shape)
        parts = (subject, self.reconstructor, predicted.synthesizer, prediction, reference)
        return Study(*parts, cfg.render_size, cfg.num_views, cfg.seed)

    def _experiment(self, experiment: str, uid: str) -> Outcome:
        study = self.study(uid)
        if experiment == "spectrum":
            return spectrum(study)
        if experiment == "refine":
            return refine(study, self.config, self._states(experiment))
        return _EXPERIMENTS[experiment](study, self.config)

    def _oracle(self, uid: str) -> Outcome:
        cfg = self.config
        subject, predicted = self.subject(uid), self._predicted(uid)
        outcome, planes = oracle(subject, predicted, cfg, cfg.render_size, cfg.seed, self._states("oracle"))
        for name, ending in NAMES.items():
            if name in planes:
                about = self._about(uid) | {"init_mode": name, "iterations": cfg.num_iters, "seed": cfg.seed}
                write_reference(self.folder / "oracle" / f"{uid}{ending}", planes["pred"], planes[name], about)
        return outcome

    def _subject(self, uid: str) -> Subject:
        cfg = self.config
        return read_subject(cfg.data_root, uid, cfg.source_view, cfg.source_camera)

    def _states(self, experiment: str) -> Path:
        return self.folder / experiment / "unfinished"

    def _about(self, uid: str) -> dict[str, Any]:
        cfg = self.config
        return {
            "uid": uid,
            "source_view": cfg.source_view,
            "source_camera": cfg.source_camera,
            "data_dir": cfg.data_root,
            "model_name": self.reconstructor.name,
            "model_hash": self.model_hash,
        }

    def _protocol(self, experiment: str, uid: str) -> dict[str, Any]:
        cfg = self.config
        kind = OPTIONS.get(experiment)
        own = [field.name for field in dataclasses.fields(getattr(options_module, kind))] if kind else []
        return self._about(uid) | {
            "experiment": experiment,
            "adapter": cfg.adapter,
            "trained_on": None if self.trained_on is None else uid in self.trained_on,
            "render_size": cfg.render_size,
            "num_views": cfg.num_views,
            "seed": cfg.seed,
            "samples": "fixed mid-points",
            "options": {name: getattr(cfg, name) for name in own},
            "versions": {"openlrm": __version__}
            | {package: importlib.metadata.version(package) for package in ("mindspore", "numpy")},
        }


def identity(model: Any) -> str:
    """SHA-256 of a model's weights and of its adapter's, if it has one."""
    base, adapters = weight_hash(model), adapters_of(model)
    if not adapters:
        return base
    digest = hashlib.sha256(base.encode())
    for name, adapter in sorted(adapters.items()):
        for parameter in (adapter.lora_A, adapter.lora_B):
            digest.update(f"{name} {adapter.scale}".encode())
            digest.update(np.ascontiguousarray(parameter.asnumpy(), "<f4").data)
    return digest.hexdigest()
