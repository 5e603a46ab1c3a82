"""What `openlrm.launch` can run; each is imported only when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from openlrm.families import family_table, find_family

if TYPE_CHECKING:
    from openlrm.runners.base import Runner

RUNNERS = {
    "infer.lrm": ("openlrm.runners.infer.lrm:InferLRM", "one picture -> turntable video and mesh"),
    "fit.triplane": (
        "openlrm.runners.fit.triplane:FitTriplane",
        "posed views of one object -> a fitted triplane",
    ),
    "prepare.images": ("openlrm.runners.prepare.images:PrepareImages", "photographs -> objects cut out and centred"),
    "render.objaverse": ("openlrm.runners.render.objaverse:RenderObjaverse", "3D files -> rendered objects"),
    "check.data": ("openlrm.runners.check.data:CheckData", "rendered objects -> what is wrong with them"),
    "import.data": (
        "openlrm.runners.convert.import_data:ImportData",
        "other programs' data sets -> objects in this project's layout",
    ),
    "export.data": (
        "openlrm.runners.convert.export_data:ExportData",
        "an object with its cameras -> transforms.json or COLMAP",
    ),
    "eval.lrm": ("openlrm.runners.evaluate.lrm:EvalLRM", "rendered objects -> PSNR, SSIM, LPIPS and more"),
    "diagnose.subset": ("openlrm.runners.diagnose_subset:DiagnoseSubset", "objects drawn or chosen, and split"),
    "diagnose.all": ("openlrm.runners.diagnose:DiagnoseAll", "a model, objects -> a page on where it goes wrong"),
    "diagnose.oracle": ("openlrm.runners.diagnose:DiagnoseOracle", "the best planes an object has for a decoder"),
    "diagnose.residual": ("openlrm.runners.diagnose:DiagnoseResidual", "where planes and surface are off"),
    "diagnose.visibility": ("openlrm.runners.diagnose:DiagnoseVisibility", "errors seen and unseen by the source"),
    "diagnose.spectrum": ("openlrm.runners.diagnose:DiagnoseSpectrum", "frequencies of the planes' error"),
    "diagnose.transfer": ("openlrm.runners.diagnose:DiagnoseTransfer", "frequencies that the decoder shows"),
    "diagnose.correction": ("openlrm.runners.diagnose:DiagnoseCorrection", "what correcting low or high repairs"),
    "diagnose.decomposition": ("openlrm.runners.diagnose:DiagnoseDecomposition", "mean, structure and detail"),
    "diagnose.nullspace": ("openlrm.runners.diagnose:DiagnoseNullspace", "directions of the planes that matter"),
    "diagnose.refine": ("openlrm.runners.diagnose:DiagnoseRefine", "test-time optimisation and what it breaks"),
    "finetune.lora": ("openlrm.runners.finetune:FinetuneLoRA", "a model, a few objects -> a low-rank adapter"),
    "finetune.full": ("openlrm.runners.finetune:FinetuneFull", "a model, a few objects -> all its weights tuned"),
    "finetune.ranks": ("openlrm.runners.finetune:FinetuneRanks", "adapters of several ranks, losses and seeds"),
    "finetune.compare": ("openlrm.runners.finetune:FinetuneCompare", "runs of finetune.* side by side"),
    "export.mindir": ("openlrm.runners.export.mindir:ExportMindir", "a model -> MindIR for MindSpore and its Lite"),
    "models": ("openlrm.runners.models:Models", "which model families and presets there are"),
    "report": ("openlrm.runners.report:Report", "results of a run -> an HTML page"),
    "compare": ("openlrm.runners.compare:Compare", "two results -> what is better in which"),
    "app": ("openlrm.runners.app:App", "a web page: uploaded pictures -> 3D models"),
    "fetch": ("openlrm.runners.fetch:Fetch", "files of others that an option wants"),
    "doctor": ("openlrm.runners.doctor:Doctor", "check that this machine computes what it should"),
}
"""Name -> ("module:Class", what it does in a line)."""

OF_A_FAMILY = {
    "train": "openlrm.runners.train:Train",
    "infer": RUNNERS["infer.lrm"][0],
    "eval": RUNNERS["eval.lrm"][0],
}
"""KIND of the runners KIND.FAMILY. infer and eval find the model's family by its config.json, whatever their name."""


def runner_table() -> dict[str, str]:
    """Name -> what it does in a line, of all runners, those of other families with them."""
    trained = {f"train.{name}": f"data -> a trained model of the family {name}" for name in family_table()}
    trained["train.lrm"] = "rendered objects -> a trained LRM"
    return {name: summary for name, (_, summary) in RUNNERS.items()} | trained


def find_runner(name: str) -> type[Runner] | None:
    """Import a runner by its name; None when there is none."""
    kind, _, family = name.partition(".")
    place = RUNNERS[name][0] if name in RUNNERS else OF_A_FAMILY.get(kind) if family in family_table() else None
    if place is None:
        return None
    module, _, attribute = place.partition(":")
    runner = getattr(importlib.import_module(module), attribute)
    return runner.of(find_family(family)) if kind == "train" else runner
