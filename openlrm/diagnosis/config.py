"""Options of `diagnose.*`; Optional[...] rather than `| None`: what OmegaConf understands on Python 3.10."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

from openlrm.config import option
from openlrm.config.schema import MAX_SEED
from openlrm.utils.logging import LEVELS

EXPERIMENTS = (
    "oracle",
    "residual",
    "visibility",
    "spectrum",
    "transfer",
    "correction",
    "decomposition",
    "nullspace",
    "refine",
)
QUICK = {
    "num_iters": 20,
    "views_per_step": 2,
    "render_size": 32,
    "num_views": 4,
    "grid_size": 40,
    "noise_seeds": 2,
    "amplitudes": [0.1, 0.5],
    "cutoffs": [0.15, 0.3],
    "null_directions": 10,
    "probes": 4,
    "exact_size": 3,
    "refine_iters": 10,
    "num_train_views": 4,
}
"""What preset=quick stands for."""
VARIANTS = ("tokens", "tokens_lpips", "triplane", "triplane_prox", "lowfreq")


@dataclass
class DiagnosisOptions:
    """What every experiment shares."""

    model_name: Optional[str] = option(  # noqa: UP045
        None, "release folder, run folder, .ckpt file or hub id; the demonstration model without it"
    )
    adapter: Optional[str] = option(None, "folder of a LoRA (adapter_config.json) to put onto the model")  # noqa: UP045
    data_root: str = option(
        "assets/sample_object", "folder of objects in the layout of training data", alias="data_dir"
    )
    uids: list[str] = option([], "objects; those of meta/val_uids.json, or of meta.json, without them")
    source_view: int = option(0, "view that the model is given", minimum=0)
    source_camera: str = option(
        "actual", "what the model is told of it: its own camera, or distance 2", choices=["actual", "canonical"]
    )
    render_size: int = option(64, "side in pixels of the pictures compared; 288 for the released models", minimum=8)
    num_views: int = option(8, "views compared, evenly spread", minimum=1)
    seed: int = option(42, "of everything drawn", minimum=0, maximum=MAX_SEED)
    source_size: Optional[int] = option(None, "side in pixels of the model's input", minimum=16)  # noqa: UP045
    output: str = option("outputs/diagnosis", "results go to OUTPUT/<experiment>/<uid>_<experiment>.json and .npz")
    device_target: Optional[str] = option(  # noqa: UP045
        None, "Ascend or CPU; Ascend when there is one without it", choices=["Ascend", "CPU"]
    )
    mode: int = option(1, "1 PyNative, 0 graph", choices=[0, 1])
    logger: str = option("info", "least severity of the messages shown", choices=list(LEVELS))
    dry_run: bool = option(False, "print the config and what would be done, and stop; writes nothing")


@dataclass
class ReferenceOptions(DiagnosisOptions):
    """Of experiments that need reference planes."""

    triplane_path: Optional[str] = option(  # noqa: UP045
        None, "reference planes of the one object; those of diagnose.oracle in OUTPUT/oracle without it",
        alias="predinit_path",
    )  # fmt: skip


@dataclass
class OracleOptions:
    """Of the fit of reference planes."""

    num_iters: int = option(2000, "steps of a fit", minimum=1)
    lr: float = option(0.01, "first learning rate; it falls to a hundredth along half a cosine", minimum=0)
    views_per_step: int = option(4, "whole views of a step", minimum=1)
    kept_views: int = option(8, "views, evenly spread, that are not fitted", minimum=0)
    init: str = option("both", "start: the prediction, random, or a fit of each", choices=["pred", "rand", "both"])
    repeats: int = option(2, "fits from the prediction, each with its own seed: what comes back?", minimum=1)


@dataclass
class SurfaceOptions:
    """Of residuals on the surface."""

    grid_size: int = option(128, "points along a side of the cube", minimum=8, maximum=512)
    sigma_threshold: float = option(1.0, "density of the surface", minimum=0)


@dataclass
class VisibilityOptions(SurfaceOptions):
    """Of what the source camera sees."""

    depth_tolerance: float = option(0.05, "share of the depth by which a visible point may miss it", minimum=0)


@dataclass
class TransferOptions:
    """Of the transfer function."""

    num_bands: int = option(10, "equal bands on [0, 1]", minimum=4)
    amplitudes: list[float] = option(
        [0.05, 0.1, 0.5], "strengths of the noise, RMS of a map; the last is shown", minimum=1e-6
    )
    noise_seeds: int = option(3, "draws of the noise", minimum=1)


@dataclass
class CorrectionOptions:
    """Of corrections by frequency."""

    cutoff: float = option(0.3, "where low frequencies end, 1 is Nyquist")
    cutoffs: list[float] = option([0.1, 0.15, 0.2, 0.3, 0.4], "cutoffs of the sweep")


@dataclass
class DecompositionOptions:
    """Of DC, structure and detail."""

    cutoff: float = option(0.3, "where low frequencies end, 1 is Nyquist")


@dataclass
class NullspaceOptions:
    """Of directions that do not matter."""

    null_directions: int = option(100, "random directions", minimum=2)
    null_epsilon: float = option(0.1, "length of a step along them", minimum=1e-6)
    probes: int = option(64, "Gaussian probes of Hutchinson's estimate", minimum=2)
    exact_size: int = option(8, "side in pixels of the one view whose Jacobian is taken whole", minimum=2, maximum=64)


@dataclass
class RefineOptions:
    """Of test-time optimisation."""

    refine_iters: int = option(500, "steps of a variant; lowfreq takes two fifths", minimum=1)
    refine_lr: float = option(0.005, "learning rate of all but lowfreq, which takes twice that", minimum=0)
    num_train_views: int = option(8, "views fitted; as many others are held out", minimum=1)
    lambda_prox: float = option(1.0, "weight of the planes' change in triplane_prox and lowfreq", minimum=0)
    variants: list[str] = option(
        ["tokens", "triplane", "triplane_prox", "lowfreq"], "what is optimised", choices=VARIANTS
    )


@dataclass
class OracleConfig(OracleOptions, DiagnosisOptions):
    """Options of `diagnose.oracle`."""


@dataclass
class ResidualConfig(SurfaceOptions, ReferenceOptions):
    """Options of `diagnose.residual`."""


@dataclass
class VisibilityConfig(VisibilityOptions, ReferenceOptions):
    """Options of `diagnose.visibility`."""


@dataclass
class SpectrumConfig(ReferenceOptions):
    """Options of `diagnose.spectrum`."""


@dataclass
class TransferConfig(TransferOptions, ReferenceOptions):
    """Options of `diagnose.transfer`."""


@dataclass
class CorrectionConfig(CorrectionOptions, ReferenceOptions):
    """Options of `diagnose.correction`."""


@dataclass
class DecompositionConfig(DecompositionOptions, ReferenceOptions):
    """Options of `diagnose.decomposition`."""


@dataclass
class NullspaceConfig(NullspaceOptions, ReferenceOptions):
    """Options of `diagnose.nullspace`."""


@dataclass
class RefineConfig(RefineOptions, ReferenceOptions):
    """Options of `diagnose.refine`."""


@dataclass
class AllConfig(
    RefineOptions,
    NullspaceOptions,
    CorrectionOptions,
    TransferOptions,
    VisibilityOptions,
    OracleOptions,
    DiagnosisOptions,
):
    """Options of `diagnose.all`."""

    experiments: list[str] = option(list(EXPERIMENTS), "which of them; oracle comes first", choices=EXPERIMENTS)
    both_cameras: bool = option(True, "the other source camera too, in OUTPUT/canonical or OUTPUT/actual")
    finetuned: list[str] = option([], "results of finetune.* for the page: folders with results.json")
    preset: str = option(
        "full", "quick: few steps, views and directions, to see whether it works", choices=["full", "quick"]
    )

    def with_preset(self) -> AllConfig:
        """The same with what `preset` stands for in place."""
        return replace(self, **QUICK) if self.preset == "quick" else self
