"""The miniature GeoLRM and the numbers that the published code computes with it."""

import json

import numpy as np
import pytest


@pytest.fixture(scope="session")
def geo_dir(shared_dir):
    """Folder of the golden miniature."""
    folder = shared_dir / "golden" / "geolrm"
    if not folder.is_dir():
        pytest.skip("../shared/golden/geolrm is not there")
    return folder


@pytest.fixture(scope="session")
def geo(geo_dir):
    """Golden arrays."""
    with np.load(geo_dir / "golden.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def geo_config(geo_dir):
    """Our config.json of the golden miniature."""
    sizes = json.loads((geo_dir / "config.json").read_text())["model"]
    encoder, proposal, reconstruction = sizes["encoder"], sizes["proposal"], sizes["reconstruction"]

    def network(part):
        names = {"transformer_dim": "dim", "transformer_layers": "layers", "transformer_heads": "heads"}
        return {ours: part[theirs] for ours, theirs in names.items()}

    return {
        "encoder": {
            "img_size": encoder["image"],
            "embed_dim": encoder["dim"],
            "depth": encoder["layers"],
            "num_heads": encoder["heads"],
        },
        "feature_dim": sizes["feature"],
        "num_deform_points": sizes["points"],
        "grid_size": sizes["grid"],
        "serializer": network(proposal) | {"token_res": sizes["grid"] // proposal["block"], "dropout": 0.0},
        "lrm_generator": network(reconstruction)
        | {key: reconstruction[key] for key in ("offset_max", "scale_max")}
        | {"gs_per_token": reconstruction["per_anchor"]},
    }


@pytest.fixture(scope="session")
def golden_geolrm(geo_dir, geo_config):
    """Maker of the golden miniature with other switches, in inference state."""
    from openlrm.checkpoint import apply_tensors, read_tensors
    from openlrm.families.geolrm.model import GeoLRM
    from openlrm.families.geolrm.weights import from_checkpoint

    tensors = read_tensors(geo_dir / "model.safetensors")

    def make(**switches):
        model = GeoLRM(**geo_config | switches)
        names = {name for name, _ in model.parameters_and_names()}
        apply_tensors(model, from_checkpoint(tensors, names), "golden")
        return model.set_train(False)

    return make


def small_config(**switches):
    """A config.json small enough for tests without golden files."""
    return {
        "encoder": {"img_size": 28, "embed_dim": 24, "depth": 1, "num_heads": 2},
        "feature_dim": 12,
        "num_deform_points": 2,
        "grid_size": 8,
        "serializer": {
            "transformer_dim": 24,
            "transformer_layers": 1,
            "transformer_heads": 2,
            "token_res": 4,
            "dropout": 0.0,
        },
        "lrm_generator": {"transformer_dim": 24, "transformer_layers": 1, "transformer_heads": 2, "gs_per_token": 2},
    } | switches


@pytest.fixture
def small_geolrm():
    """Maker of a small GeoLRM with drawn weights, in inference state."""
    import mindspore as ms

    from openlrm.families.geolrm.model import GeoLRM

    def make(**switches):
        ms.set_seed(0)
        return GeoLRM(**small_config(**switches)).set_train(False)

    return make
