"""`diagnose.*`: where a triplane model goes wrong, experiment by experiment."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from openlrm.diagnosis import config as options
from openlrm.diagnosis.config import AllConfig, DiagnosisOptions
from openlrm.runners.base import Runner
from openlrm.runners.dry_run import output_facts, print_config, print_facts
from openlrm.utils.logging import get_logger, setup_logging
from openlrm.utils.paths import check_output

if TYPE_CHECKING:
    from openlrm.diagnosis.session import Session

logger = get_logger(__name__)

ABOUT = {
    "oracle": "Fit reference planes to all views with the decoder frozen, from the prediction, twice, and from noise: "
    "PSNR on fitted and kept views, whether they lie in one basin, what of the residual comes back.",
    "residual": "Where the prediction differs from the reference: maps of the planes, colour errors on the surface.",
    "visibility": "Colour errors where the source camera looks and where it cannot; render error by angle.",
    "spectrum": "Shares and densities of the residual's frequencies, curves over the radius.",
    "transfer": "H(f): how much the pictures change for noise in each band of the planes; impact; calibration.",
    "correction": "Render error with low or high frequencies of the residual corrected, over a sweep of cutoffs.",
    "decomposition": "The same with the mean, the structure below the cutoff, and the detail.",
    "nullspace": "Random directions of the planes: how many of them matter to the pictures.",
    "refine": "Optimise tokens or planes at test time on some views, and measure what it does to others.",
}


class Diagnose(Runner):
    """One experiment on every object."""

    experiment: ClassVar[str]

    @classmethod
    def of(cls, experiment: str) -> type[Diagnose]:
        """The runner of one experiment."""
        command = f"python -m openlrm.launch diagnose.{experiment} data_root=outputs/renders uids=mug,chair"
        values = {
            "experiment": experiment,
            "Config": getattr(options, f"{experiment.capitalize()}Config"),
            "summary": f"{ABOUT[experiment]} Writes OUTPUT/{experiment}/<uid>_{experiment}.json and .npz.",
            "examples": (command,),
        }
        return type(f"Diagnose{experiment.capitalize()}", (cls,), values)

    def run(self) -> int:
        """Do what is not done yet."""
        return _run(self.config, (self.experiment,))


class DiagnoseAll(Runner):
    """Every experiment on every object, for both source cameras, and the page."""

    Config = AllConfig
    summary = (
        "The whole chain of experiments on every object, the source camera told as it was and as the study did. "
        "What is done already is left as it is: an interrupted run goes on. Writes OUTPUT/<experiment>/, "
        "OUTPUT/canonical/<experiment>/ and OUTPUT/report.html with a table of findings."
    )
    examples = (
        "python -m openlrm.launch diagnose.all --config configs/diagnose-demo.yaml",
        "python -m openlrm.launch diagnose.all data_root=outputs/renders uids=mug preset=quick",
    )

    def run(self) -> int:
        """Do what is not done yet; write the page."""
        cfg = self.config.with_preset()
        chosen = [name for name in options.EXPERIMENTS if name in cfg.experiments]
        code = _run(cfg, chosen)
        other = "canonical" if cfg.source_camera == "actual" else "actual"
        if cfg.both_cameras:
            more = dataclasses.replace(cfg, source_camera=other, output=str(Path(cfg.output) / other))
            code = code or _run(more, chosen)
        if cfg.dry_run or code:
            return code
        from openlrm.reports.diagnosis import write_diagnosis_page

        print(write_diagnosis_page(Path(cfg.output), [Path(folder) for folder in cfg.finetuned]))
        return 0


def _run(config: DiagnosisOptions, experiments: tuple[str, ...] | list[str]) -> int:
    setup_logging(config.logger)
    from openlrm.diagnosis.oracle import Interrupted
    from openlrm.diagnosis.session import Session
    from openlrm.diagnosis.store import result_file
    from openlrm.ops import setup_device

    folder = Path(config.output)
    if not config.dry_run:
        check_output(folder / experiments[0] / "x.json")
    device = setup_device(config.device_target, config.mode)
    session = Session(config)
    if config.dry_run:
        return _dry(session, experiments)
    logger.info("%s on %d objects, device %s", session.reconstructor.name, len(session.uids), device)
    try:
        for uid in session.uids:
            session.subject(uid)
        for uid in session.uids:
            for experiment in experiments:
                session.run(experiment, uid)
    except Interrupted:
        logger.warning("interrupted; the same command goes on")
        return 130
    for experiment in experiments:
        logger.info("%s: %s", experiment, result_file(folder, experiment, "<uid>"))
    return 0


def _dry(session: Session, experiments: tuple[str, ...] | list[str]) -> int:
    """What would be done, and how long the fits would take by two timed steps."""
    from openlrm.diagnosis.store import result_file
    from openlrm.diagnosis.timing import oracle_fact

    print_config(session.config)
    files = [result_file(session.folder, name, uid) for uid in session.uids for name in experiments]
    print_facts([f"{session.reconstructor.name}, {len(session.uids)} objects: {', '.join(session.uids)}"])
    print_facts(output_facts(files))
    if "oracle" in experiments:
        print_facts([oracle_fact(session)])
    return 0


DiagnoseOracle = Diagnose.of("oracle")
DiagnoseResidual = Diagnose.of("residual")
DiagnoseVisibility = Diagnose.of("visibility")
DiagnoseSpectrum = Diagnose.of("spectrum")
DiagnoseTransfer = Diagnose.of("transfer")
DiagnoseCorrection = Diagnose.of("correction")
DiagnoseDecomposition = Diagnose.of("decomposition")
DiagnoseNullspace = Diagnose.of("nullspace")
DiagnoseRefine = Diagnose.of("refine")
