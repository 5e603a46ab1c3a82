"""InstantMeshes with a name: the released models, and a tiny one."""

from __future__ import annotations

from openlrm.families.family import Preset

SOURCE_SIZE = 320
"""Side in pixels of the pictures that the released models were trained on."""


INPUTS = 6
"""Views of an object that they were trained with."""


def _config(kind: str, layers: int, channels: int, samples: int) -> dict:
    return {
        "kind": kind,
        "transformer_dim": 1024,
        "transformer_layers": layers,
        "transformer_heads": 16,
        "triplane_low_res": 32,
        "triplane_high_res": 64,
        "triplane_dim": channels,
        "rendering_samples_per_ray": samples,
        "grid_res": 128,
        "grid_scale": 2.1,
        "encoder_freeze": False,
        "encoder_model_name": "facebook/dino-vitb16",
        "encoder_feat_dim": 768,
    }


_TINY = {
    "kind": "nerf",
    "transformer_dim": 192,
    "transformer_layers": 3,
    "transformer_heads": 3,
    "triplane_low_res": 16,
    "triplane_high_res": 32,
    "triplane_dim": 24,
    "rendering_samples_per_ray": 32,
    "grid_res": 32,
    "grid_scale": 2.1,
    "encoder_freeze": False,
    "encoder_model_name": "tiny",
    "encoder_feat_dim": 192,
    "encoder": {"img_size": 96, "patch_size": 16, "embed_dim": 192, "depth": 3, "num_heads": 3},
}
_HUB = "instant_{}.ckpt of TencentARC/InstantMesh on the hub; memory: not measured"


def _preset(name: str, config: dict, parameters: int) -> Preset:
    kind, size = name.split("-")
    source = _HUB.format(f"{kind}_{size}")
    return Preset(name, config, parameters, SOURCE_SIZE, memory_gib=None, source=source)


PRESETS = (
    _preset("nerf-base", _config("nerf", 12, 40, 96), parameters=313_249_004),
    _preset("nerf-large", _config("nerf", 16, 80, 128), parameters=378_477_332),
    _preset("mesh-base", _config("mesh", 12, 40, 96), parameters=313_352_516),
    _preset("mesh-large", _config("mesh", 16, 80, 128), parameters=378_657_644),
    Preset(
        "tiny",
        _TINY,
        parameters=3_930_268,
        source_size=96,
        memory_gib=None,
        source="to try things with; no weights",
    ),
)
