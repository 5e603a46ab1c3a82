"""Losses of both stages and their gradients against the published code's, and their rules."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.families.geolrm.loss import ProposalLoss, ViewLoss, occupancy_figures, occupancy_losses
from openlrm.families.geolrm.options import GaussianLossConfig
from openlrm.families.geolrm.task import _Chain

# Zero in exact arithmetic: rounding is all there is.
ZERO = ("mask_token", "key.bias", "cross_view_weight.bias")


def check_gradients(geo, stage, names, gradients):
    compared = 0
    for name, gradient in zip(names, gradients, strict=True):
        key = name.partition(".")[2]
        if f"{stage}_grad/{key}" not in geo or name.endswith(ZERO):
            continue
        found, wanted = gradient.asnumpy().reshape(-1), geo[f"{stage}_grad/{key}"]
        norm = float(geo[f"{stage}_norm/{key}"])
        largest = max(np.abs(found).max(), 1e-12)
        assert np.abs(found[: wanted.size] - wanted).max() <= 1e-3 * largest, key
        assert abs(np.linalg.norm(found) - norm) <= 1e-3 * norm, key
        compared += 1
    assert compared > 60


def test_proposal_stage(geo, golden_geolrm, pynative):
    model = golden_geolrm()
    names, weights = zip(*((n, p) for n, p in model.parameters_and_names() if n.startswith("serializer.")), strict=True)
    names, weights = zip(*((n, p) for n, p in zip(names, weights, strict=True) if p.requires_grad), strict=True)
    loss = ms.value_and_grad(ProposalLoss(model.serializer), None, ms.ParameterTuple(weights), has_aux=True)
    inputs = [Tensor(geo[name]) for name in ("images", "K", "c2w", "occupancy_target")]
    (_, parts, _), gradients = loss(*inputs, Tensor(1.0))
    bce, affinity = parts.asnumpy()[1:3]
    assert bce == pytest.approx(float(geo["stage1_bce"]), rel=1e-5)
    assert affinity == pytest.approx(float(geo["stage1_affinity"]), rel=1e-5)
    wanted = [float(geo[f"stage1_{name}"]) for name in ("iou", "precision", "recall")]
    np.testing.assert_allclose(parts.asnumpy()[3:], wanted, rtol=1e-5)
    check_gradients(geo, "stage1", names, gradients)


def stage_two(geo, model, weights=None):
    """Parts (7,) of the golden batch, and the gradient of the parameters."""
    network = model.lrm_generator
    config = GaussianLossConfig(perceptual_weight=0)
    view = ms.value_and_grad(ViewLoss(config, (32, 32), None, True), (0, 1, 2, 3, 4), has_aux=True)
    mask = ((geo["target_alpha"] > 0) & (geo["target_depth"] > 0)).astype(np.float32)
    counts = Tensor(np.array([mask[..., :-1].sum(), mask[..., :-1, :].sum()], np.float32))
    report, gradients = 0, None
    for b in range(2):
        seen = [Tensor(geo[name][b : b + 1]) for name in ("points", "images", "K", "c2w")]
        gaussians = [x[0] for x in network.gaussians(seen[0], network(*seen))]
        pulls = None
        for m in range(3):
            matrix = geo["target_K"][b, m]
            lens = np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]], np.float32)
            arrays = [geo["target_c2w"][b, m], lens, geo["target_background"]]
            arrays += [geo[f"target_{name}"][b, m] for name in ("rgb", "alpha", "depth")]
            rest = [*map(Tensor, arrays), Tensor(mask[b, m]), counts, Tensor(1 / 6, ms.float32), Tensor(0.0)]
            (_, parts, picture), found = view(*gaussians, *rest)
            assert np.abs(picture.asnumpy() - geo["render_rgb"][b, m]).max() < 1e-5
            report = report + parts.asnumpy()
            pulls = found if pulls is None else [a + g for a, g in zip(pulls, found, strict=True)]
        found = ms.grad(_Chain(network), None, weights)(*seen, *pulls)
        gradients = found if gradients is None else [a + g for a, g in zip(gradients, found, strict=True)]
    return report, gradients


def test_reconstruction_stage(geo, golden_geolrm, pynative):
    model = golden_geolrm()
    pairs = [(n, p) for n, p in model.parameters_and_names() if n.startswith("lrm_generator.") and p.requires_grad]
    names, weights = zip(*pairs, strict=True)
    report, gradients = stage_two(geo, model, ms.ParameterTuple(weights))
    loss, pixel, _, mask, depth, variation, _ = report
    for found, name in ((4 * pixel, "mse"), (mask, "mask"), (depth, "depth"), (variation, "depth_tv"), (loss, "loss")):
        assert found == pytest.approx(float(geo[f"stage2_{name}"]), rel=1e-5), name
    check_gradients(geo, "stage2", names, gradients)


def test_perfect_occupancy_costs_nothing(pynative):
    truth = (np.random.default_rng(0).random((2, 4, 4, 4)) > 0.7).astype(np.float32)
    logits = Tensor(100 * (2 * truth - 1))
    bce, affinity = occupancy_losses(logits, Tensor(truth))
    assert bce.asnumpy() < 1e-6 and affinity.asnumpy() < 1e-5
    np.testing.assert_allclose(occupancy_figures(logits, Tensor(truth)).asnumpy(), 1)
    bce, affinity = occupancy_losses(-logits, Tensor(truth))
    assert bce.asnumpy() == pytest.approx(100) and np.isfinite(affinity.asnumpy())
