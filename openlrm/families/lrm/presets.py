"""LRMs with a name: the sizes of the released checkpoints, and this project's demonstration model."""

from __future__ import annotations

from openlrm.families.family import Preset

SOURCE_SIZES = {(512, 32): 224, (768, 48): 336, (1024, 80): 448, (768, 80): 448}
"""Side of the pictures of the released models and of this project's large one, by (transformer_dim, triplane_dim)."""

_SHARED = {
    "camera_embed_dim": 1024,
    "triplane_low_res": 32,
    "triplane_high_res": 64,
    "encoder_freeze": True,
    "encoder_type": "dinov2",
}


def _config(samples: int, dim: int, layers: int, channels: int, encoder: str, encoder_dim: int) -> dict:
    return _SHARED | {
        "rendering_samples_per_ray": samples,
        "transformer_dim": dim,
        "transformer_layers": layers,
        "transformer_heads": dim // 64,
        "triplane_dim": channels,
        "encoder_model_name": encoder,
        "encoder_feat_dim": encoder_dim,
    }


_HUB = "zxhezexin/openlrm-{{obj,mix}}-{size}-1.1 on the hub"
_MEASURED = "benchmarks/results.md"

PRESETS = (
    Preset(
        "small",
        _config(96, 512, 12, 32, "dinov2_vits14_reg", 384),
        parameters=111_390_948,
        source_size=224,
        memory_gib=1.02,
        source=f"{_HUB.format(size='small')}; memory: {_MEASURED}",
    ),
    Preset(
        "base",
        _config(96, 768, 12, 48, "dinov2_vitb14_reg", 768),
        parameters=260_201_972,
        source_size=336,
        memory_gib=1.61,
        source=f"{_HUB.format(size='base')}; memory: {_MEASURED}",
    ),
    Preset(
        "large",
        _config(128, 1024, 16, 80, "dinov2_vitb14_reg", 768),
        parameters=452_138_004,
        source_size=448,
        memory_gib=None,
        source=f"{_HUB.format(size='large')}; memory: not measured",
    ),
    Preset(
        "tiny-demo",
        _SHARED
        | {
            "camera_embed_dim": 128,
            "rendering_samples_per_ray": 32,
            "transformer_dim": 192,
            "transformer_layers": 3,
            "transformer_heads": 3,
            "triplane_low_res": 16,
            "triplane_high_res": 32,
            "triplane_dim": 32,
            "encoder_freeze": False,
            "encoder_model_name": "tiny",
            "encoder_feat_dim": 192,
            "encoder": {"img_size": 112, "patch_size": 14, "embed_dim": 192, "depth": 3, "num_heads": 3},
        },
        parameters=3_890_212,
        source_size=112,
        memory_gib=0.55,
        source="assets/openlrm-tiny-demo, configs/train-demo.yaml; memory: a process of its own, two cores",
    ),
)
