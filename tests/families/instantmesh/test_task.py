"""Losses, draws and cameras of training."""

from dataclasses import replace

import numpy as np
import pytest

from openlrm.cameras import Camera, turntable
from openlrm.datasets import Item
from openlrm.families.instantmesh.augment import augment, noisy_records
from openlrm.training.config import SchedulerConfig
from openlrm.training.schedule import learning_rate


@pytest.fixture
def item() -> Item:
    """Two objects, two views in, three views out, with maps."""
    random = np.random.default_rng(0)
    poses = np.stack([turntable(3, radius=2.5), turntable(3, radius=3.0)])
    cameras = Camera(poses, (1.1, 1.1, 0.5, 0.5))
    pictures = random.random((2, 3, 3, 8, 8)).astype(np.float32)
    return Item(
        source_images=pictures[:, :2],
        source_cameras=cameras[:, :2],
        images=pictures,
        masks=np.ones((2, 3, 1, 8, 8), np.float32),
        cameras=cameras,
        anchors=np.tile(np.array([3.0, 5.0], np.float32), (2, 3, 1)),
        sizes=np.full((2, 3), 24, np.float32),
        backgrounds=np.ones((2, 3), np.float32),
        depths=random.random((2, 3, 1, 8, 8)).astype(np.float32),
        normals=random.standard_normal((2, 3, 3, 8, 8)).astype(np.float32),
    )


def test_a_turned_world_shows_the_same_pictures(item):
    """Points turned with the cameras are seen where they were, at the same depth."""
    turned = augment(item, np.random.default_rng(1), True, 0.0, (0.7, 1.1))
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (20, 3))
    for n in range(2):
        before, after = item.cameras[n, 0], turned.cameras[n, 0]
        # The rotation around the upward axis that took the first camera there.
        turn = after.rotations @ np.linalg.inv(before.rotations)
        assert turn[2] == pytest.approx([0, 0, 1], abs=1e-6)
        for camera in range(3):
            seen, depth = item.cameras[n, camera].project(points)
            again, same = turned.cameras[n, camera].project(points @ turn.T)
            np.testing.assert_allclose(again, seen, atol=1e-5)
            np.testing.assert_allclose(same, depth, atol=1e-5)
        np.testing.assert_allclose(turned.normals[n], np.einsum("ij,mjhw->mihw", turn, item.normals[n]), atol=1e-5)
    assert np.array_equal(turned.depths, item.depths) and np.array_equal(turned.images, item.images)


def test_a_scaled_world_moves_cameras_and_depths(item):
    scaled = augment(item, np.random.default_rng(1), False, 1.0, (0.7, 0.7))
    np.testing.assert_allclose(scaled.cameras.centers, 0.7 * item.cameras.centers, rtol=1e-6)
    np.testing.assert_allclose(scaled.depths, 0.7 * item.depths, rtol=1e-6)
    assert np.array_equal(scaled.cameras.rotations, item.cameras.rotations)


def test_noise_is_of_every_number_and_small(item):
    noisy = noisy_records(item.source_cameras, np.random.default_rng(0), 0.02)
    change = np.abs(noisy - item.source_cameras.source_record())
    assert change.max() <= 0.02 + 1e-6 and (change.max(axis=(0, 1)) > 0.001).all()


def test_a_region_is_a_view_of_its_own(item):
    from openlrm.families.instantmesh.task import axis_share, region_intrinsics

    whole = item.cameras[0, 0]
    region = Camera(whole.c2w, region_intrinsics(item, 8)[0, 0])
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (20, 3))
    full, depth = whole.project(points)
    part, _ = region.project(points)
    np.testing.assert_allclose(part * 8 + [5, 3], full * 24, atol=1e-4)
    # Distance along the ray through a pixel times its share is the depth along the axis.
    share = axis_share(whole.intrinsics[None, None], 24)[0, 0, 0]
    row, column = (full[:, ::-1] * 24).astype(int).T
    distance = np.linalg.norm(points - whole.centers, axis=1)
    np.testing.assert_allclose(share[row, column] * distance, depth, rtol=0.03)


def test_cosines_restart_by_the_step():
    config = SchedulerConfig("restarts", warmup_steps=0, end_learning_rate=4e-5, restart_steps=3000)
    rates = [learning_rate(step, 10**6, 4e-4, config) for step in (0, 1500, 2999, 3000, 4500)]
    np.testing.assert_allclose(rates[:2], [4e-4, 2.2e-4], rtol=1e-9)
    assert rates[2] == pytest.approx(4e-5, rel=1e-3)
    assert rates[3:] == rates[:2]


def test_golden_losses_of_stage_two(pynative, surface, arrays, shared_dir):
    """The published losses, of the pictures that the published renderer gives; LPIPS apart."""
    from mindspore import Tensor

    from openlrm.families.instantmesh.loss import depth_loss, normal_loss
    from openlrm.losses import mask_loss, pixel_loss

    with np.load(shared_dir / "golden" / "instantmesh" / "golden.npz") as file:
        golden = dict(file)
    shown = {name: golden[f"mesh_render_train_{name}"] for name in ("img", "mask", "depth", "normal")}
    target = {name: golden[f"stage2_target_{name}s"] for name in ("image", "alpha", "depth", "normal")}
    pixel = 4 * pixel_loss(Tensor(shown["img"]), Tensor(target["image"]))
    np.testing.assert_allclose(float(pixel), golden["stage2_loss_mse"], rtol=1e-5)
    mask = mask_loss(Tensor(shown["mask"]), Tensor(target["alpha"]))
    np.testing.assert_allclose(float(mask), golden["stage2_loss_mask"], rtol=1e-5)
    depth = depth_loss(*map(Tensor, (shown["depth"], target["depth"], target["alpha"])))
    np.testing.assert_allclose(0.5 * float(depth), golden["stage2_loss_depth"], rtol=1e-5)
    # The published normals count pixels that the surface does not cover, as (-1, -1, -1).
    everywhere = np.ones(shown["mask"].shape, bool)
    normal = normal_loss(*map(Tensor, (shown["normal"], 2 * target["normal"] - 1, target["alpha"], everywhere)))
    np.testing.assert_allclose(0.2 * float(normal), golden["stage2_loss_normal"], rtol=1e-5)
    ours = normal_loss(*map(Tensor, (shown["normal"], 2 * target["normal"] - 1, target["alpha"], shown["mask"] > 0)))
    assert float(ours) != pytest.approx(float(normal), rel=1e-3)


def test_without_draws_a_batch_is_left_alone(item):
    same = augment(item, np.random.default_rng(1), False, 0.0, (0.7, 1.1))
    assert np.array_equal(same.cameras.c2w, item.cameras.c2w)
    assert augment(replace(item, depths=None, normals=None), np.random.default_rng(1), True, 1, (1, 1)).normals is None


def test_gradients_of_stage_two_reach_everything(pynative, sizes, item):
    """Every parameter but the unused gets a finite gradient; depth and normal maps are used."""
    import mindspore as ms
    from mindspore import Tensor, ops

    from openlrm.families.instantmesh.loss import SURFACE_PARTS, SurfaceLoss
    from openlrm.families.instantmesh.model import ModelInstantMesh
    from openlrm.families.instantmesh.options import LossConfig
    from openlrm.families.instantmesh.task import region_intrinsics
    from openlrm.training.image_loss import ImageLoss

    ms.set_seed(0)
    model = ModelInstantMesh(kind="mesh", **sizes)
    bias = model.synthesizer.decoder.net_sdf[6].bias
    planes = model(*(Tensor(x) for x in (np.zeros((1, 2, 3, 32, 32), np.float32), np.zeros((1, 2, 16), np.float32))))
    bias.set_data(bias - float(np.median(model.synthesizer.distances(planes))))
    loss = SurfaceLoss(model, ImageLoss(LossConfig(perceptual_weight=0.0)), LossConfig())
    loss.set_train(True)
    names = [name for name, _ in model.parameters_and_names()]
    weights = ms.ParameterTuple([parameter for _, parameter in model.parameters_and_names()])
    images = np.random.default_rng(0).random((2, 2, 3, 32, 32)).astype(np.float32)
    inputs = (images, item.source_cameras.source_record(), item.cameras.w2c(opencv=False), region_intrinsics(item, 8))
    inputs += (item.images, item.masks, item.depths, item.normals, np.float32(0), np.float32(1))
    (total, report, shown), gradients = ms.value_and_grad(loss, None, weights, has_aux=True)(*map(Tensor, inputs))
    parts = dict(zip(SURFACE_PARTS, report.asnumpy().tolist(), strict=True))
    assert parts["depth"] > 0 and parts["normal"] > 0 and parts["faces"] > 0 and parts["empty"] == 0
    assert shown.shape == (2, 3, 3, 8, 8) and np.isfinite(float(total))
    for name, gradient in zip(names, gradients, strict=True):
        assert np.isfinite(gradient.asnumpy()).all(), name
        if "cross_attn" in name or "net_" in name or "deconv" in name:
            assert ops.abs(gradient).max() > 0, name
