"""Presets say what their models are."""

import json

import pytest
from mindspore.nn.utils import no_init_parameters

from openlrm import ModelLRM
from openlrm.families import find_family
from openlrm.families.lrm.presets import PRESETS


@pytest.mark.parametrize("preset", PRESETS, ids=[preset.name for preset in PRESETS])
def test_numbers_of_parameters(pynative, preset):
    """Counted in models whose weights are never drawn."""
    with no_init_parameters():
        model = ModelLRM(**preset.config)
    assert sum(parameter.size for parameter in model.get_parameters()) == preset.parameters


@pytest.mark.parametrize("preset", PRESETS, ids=[preset.name for preset in PRESETS])
def test_sizes_of_pictures(preset):
    assert find_family("lrm").source_size(preset.config) == preset.source_size


def test_the_demonstration_is_the_shipped_one(repo):
    config = json.loads((repo / "assets" / "openlrm-tiny-demo" / "config.json").read_text())
    assert {preset.name: preset.config for preset in PRESETS}["tiny-demo"] == config
