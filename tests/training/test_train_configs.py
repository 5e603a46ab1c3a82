"""Configs of train.lrm: they load, carry the published sizes and build a model of them."""

import re
import subprocess
from pathlib import Path

import pytest

from openlrm.config import load_config
from openlrm.families.lrm import LRMConfig
from openlrm.families.lrm.options import TrainLRMConfig

REPO = Path(__file__).resolve().parents[2]
FILES = sorted(
    [*REPO.glob("configs/train-[!ig]*.yaml"), *(REPO / f"configs/finetune-{size}.yaml" for size in ("small", "base"))]
)

# Specification, section 1; "large" is this project's training config: base's transformer.
SIZES = {
    "small": (12, 512, 8, 32, 384, 96, 224, (64, 192, 64)),
    "base": (12, 768, 12, 48, 768, 96, 336, (96, 288, 96)),
    "large": (12, 768, 12, 80, 768, 128, 448, (128, 384, 128)),
}


def load(path):
    return load_config(TrainLRMConfig, [path])


def test_all_are_there():
    names = {path.stem for path in FILES}
    assert {f"train-sample-{n}" for n in ("debug", "tiny", "small", "base", "large")} <= names
    assert {"finetune-small", "finetune-base"} <= names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_config_loads_and_says_how_it_is_run(path):
    config = load(path)
    LRMConfig.from_dict(vars(config.model))
    header = path.read_text().split("\nmodel:")[0]
    assert f"--config configs/{path.name}" in header


@pytest.mark.parametrize("path", [p for p in FILES if p.stem.split("-")[-1] in SIZES], ids=lambda path: path.stem)
def test_sizes_are_the_published_ones(path):
    config = load(path)
    model, data = config.model, config.data
    found = (
        model.transformer_layers,
        model.transformer_dim,
        model.transformer_heads,
        model.triplane_dim,
        model.encoder_feat_dim,
        model.rendering_samples_per_ray,
        data.source_image_res,
        (data.render_image_low, data.render_image_high, data.render_region_size),
    )
    assert found == SIZES[path.stem.split("-")[-1]]
    assert config.train.loss.perceptual_weight == 1.0


@pytest.mark.parametrize("script", sorted(REPO.glob("scripts/train_*.sh")), ids=lambda path: path.stem)
def test_scripts_name_a_config_that_exists(script):
    subprocess.run(["bash", "-n", script], check=True)
    name = script.stem.removeprefix("train_").removesuffix("_multi")
    (config,) = re.findall(r"configs/train-(?:sample-)?(\w+)\.yaml", script.read_text())
    assert config == name
    assert any((REPO / "configs" / f"{start}{name}.yaml").is_file() for start in ("train-sample-", "train-"))
