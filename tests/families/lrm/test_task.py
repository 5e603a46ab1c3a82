"""The gradient of a batch: against the golden one, and deferred against direct."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from openlrm import ModelLRM
from openlrm.errors import UserError
from openlrm.families.lrm import task as task_module
from openlrm.families.lrm.options import LossConfig
from openlrm.ops import setup_device
from openlrm.representations.triplane import synthesizer as synthesizer_module
from openlrm.training.noise import ray_noise


class FakeLpips(nn.Cell):
    """Difference of neighbouring columns: a loss in which pixels are not independent, as in LPIPS."""

    def construct(self, images: Tensor, targets: Tensor) -> Tensor:
        difference = images - targets
        return ((difference[..., 1:] - difference[..., :-1]) ** 2).mean((1, 2, 3))


def named(task, result):
    return {p.name: g.asnumpy() for p, g in zip(task.parameters, result.gradients, strict=True)}


def relative(a, b):
    return np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-12)


def test_loss_and_gradient_are_golden(mode, mini, golden, batch, task_of, monkeypatch):
    draws = (golden["stratified_noise"], golden["importance_u"])
    monkeypatch.setattr(task_module, "ray_noise", lambda *_: draws)
    task = task_of(mini)
    task.gradient(batch, 0)
    result = task.gradient(batch, 0)  # kernels with a state of their own differ the second time
    assert result.parts["loss"] == pytest.approx(float(golden["loss"]), rel=1e-5)
    assert result.parts["pixel"] == pytest.approx(float(golden["loss_pixel"]), rel=1e-5)
    assert result.parts["tv"] == pytest.approx(float(golden["loss_tv"]), rel=1e-5)
    gradients = named(task, result)
    assert len(gradients) == sum(key.startswith("grad/") for key in golden)
    for name, gradient in gradients.items():
        assert relative(gradient, golden[f"grad/{name}"]) < 2e-3, name


def test_weights_multiply_their_parts(pynative, mini, batch, task_of):
    config = LossConfig(pixel_weight=2.0, perceptual_weight=3.0, mask_weight=5.0, tv_weight=7.0, frequency_weight=11.0)
    parts = task_of(mini, config, FakeLpips()).gradient(batch, 0).parts
    total = 2 * parts["pixel"] + 3 * parts["perceptual"] + 5 * parts["mask"] + 7 * parts["tv"]
    total += 11 * parts["frequency"]
    assert parts["loss"] == pytest.approx(total, rel=1e-5)
    assert min(parts.values()) > 0


def test_perceptual_loss_waits_for_its_step(pynative, mini, batch, task_of):
    config = LossConfig(perceptual_start=2, perceptual_warmup=1)
    task = task_of(mini, config, FakeLpips())
    assert task.gradient(batch, 1).parts["perceptual"] == 0
    warming = task.gradient(batch, 2).parts
    assert warming["loss"] == pytest.approx(
        warming["pixel"] + 0.5 * warming["perceptual"] + 5e-4 * warming["tv"], rel=1e-5
    )


def test_loss_scale_scales_the_gradient_alone(pynative, mini, batch, task_of):
    task = task_of(mini)
    plain, scaled = task.gradient(batch, 0), task.gradient(batch, 0, scale=1024.0)
    assert plain.parts == scaled.parts
    for a, b in zip(plain.gradients, scaled.gradients, strict=True):
        assert relative(b.asnumpy() / 1024, a.asnumpy()) < 1e-5


def test_deferred_gradient_is_the_direct_one(mode, mini, batch, task_of, monkeypatch):
    config = LossConfig(perceptual_weight=0.5, mask_weight=0.3, frequency_weight=0.2)
    # The direct one is PyNative's: a second graph would take long to compile. Its sampling kernels are others.
    pixels, gradients = (1e-6, 1e-4) if mode == 1 else (2e-5, 2e-3)
    setup_device("CPU", 1)
    with monkeypatch.context() as patch:
        if mode == 0:
            patch.setattr(synthesizer_module, "marches_on_host", lambda: False)
        in_one = task_of(mini, config, FakeLpips(), seed=1)
        direct = in_one.gradient(batch, 5, scale=4.0)
    setup_device("CPU", mode)
    by_squares = task_of(mini, config, FakeLpips(), deferred=4, seed=1)
    deferred = by_squares.gradient(batch, 5, scale=4.0)
    for name, value in direct.parts.items():
        assert deferred.parts[name] == pytest.approx(value, rel=1e-5), name
    np.testing.assert_allclose(deferred.preview.asnumpy(), direct.preview.asnumpy(), atol=pixels)
    wanted = named(in_one, direct)
    for name, gradient in named(by_squares, deferred).items():
        assert relative(gradient, wanted[name]) < gradients, name


def test_squares_have_to_fill_the_region(pynative, mini, task_of):
    with pytest.raises(UserError, match=r"deferred_region=5.*12 pixels.*such as 4"):
        task_of(mini, deferred=5)


@pytest.mark.parametrize("deferred", [0, 4])
@pytest.mark.parametrize("how", ["config", "pattern"])
def test_frozen_encoder_gets_no_gradient_and_the_rest_the_same(
    pynative, mini, mini_config, batch, task_of, how, deferred
):
    frozen = ModelLRM(**mini_config | {"encoder_freeze": how == "config"})
    ms.load_param_into_net(frozen, dict(mini.parameters_and_names()))
    whole, part = task_of(mini), task_of(frozen, deferred=deferred, freeze=["encoder.*"])
    free, kept = named(whole, whole.gradient(batch, 0)), named(part, part.gradient(batch, 0))
    assert set(kept) == {name for name in free if not name.startswith("encoder.")}
    for name, gradient in kept.items():
        assert relative(gradient, free[name]) < 1e-4, name


def test_kept_features_are_those_of_the_encoder(pynative, mini, batch, task_of, tmp_path):
    """In memory, from files that another run wrote, and computed: the same loss and gradients."""
    plain = task_of(mini, freeze=["encoder.*"])
    wanted = named(plain, plain.gradient(batch, 0))
    kept = {"freeze": ["encoder.*"], "features_mib": 8, "features_dir": str(tmp_path)}
    first = task_of(mini, **kept)
    found = [named(first, first.gradient(batch, 0)) for _ in range(2)]
    files = sorted(tmp_path.rglob("*.npy"))
    assert len(files) == len(batch.source_images)
    second = task_of(mini, **kept)
    found.append(named(second, second.gradient(batch, 0)))
    for gradients in found:
        for name, gradient in gradients.items():
            assert relative(gradient, wanted[name]) < 1e-4, name
            np.testing.assert_array_equal(gradient, found[0][name])
    with pytest.raises(UserError, match=r"features_mib.*frozen encoder"):
        task_of(mini, features_mib=8)


def test_draws_depend_on_counters_alone():
    first = ray_noise(1, 2, 0, 5, 3)
    np.testing.assert_array_equal(first, ray_noise(1, 2, 0, 5, 3))
    for other in [(2, 2, 0), (1, 3, 0), (1, 2, 1)]:
        assert not np.array_equal(first[0], ray_noise(*other, 5, 3)[0])
    assert not np.array_equal(first[0], first[1])
    many = ray_noise(0, 0, 0, 1000, 100)[0]
    assert 0 <= many.min() < 1e-3
    assert 0.999 < many.max() < 1
    assert abs(many.mean() - 0.5) < 0.01


@pytest.mark.parametrize("deferred", [0, 4])
def test_one_part_alone_is_trained(pynative, mini, batch, task_of, deferred):
    whole, part = task_of(mini), task_of(mini, only=["transformer.layers.1.*"], deferred=deferred)
    free, kept = named(whole, whole.gradient(batch, 0)), named(part, part.gradient(batch, 0))
    assert set(kept) == {name for name in free if name.startswith("transformer.layers.1.")}
    for name, gradient in kept.items():
        assert relative(gradient, free[name]) < 1e-4, name


@pytest.mark.parametrize("deferred", [0, 4])
def test_the_renderer_alone_is_trained(pynative, mini, batch, task_of, deferred):
    whole, part = task_of(mini), task_of(mini, only=["synthesizer.*"], deferred=deferred)
    free, kept = named(whole, whole.gradient(batch, 0)), named(part, part.gradient(batch, 0))
    assert set(kept) == {name for name in free if name.startswith("synthesizer.")}
    for name, gradient in kept.items():
        assert relative(gradient, free[name]) < 1e-4, name


def test_patterns_that_fit_nothing(pynative, mini, task_of):
    with pytest.raises(UserError, match=r"train\.freeze: no parameter is called encodr\.\*"):
        task_of(mini, freeze=["encodr.*"])
    with pytest.raises(UserError, match="no parameters are left to train"):
        task_of(mini, freeze=["*"])


def test_looking_leaves_the_training_state(pynative, mini, batch, task_of):
    task = task_of(mini)
    for state in (True, False):
        mini.set_train(state)
        task.watch(batch, 0)
        task.reconstruct(np.ones((1, 56, 56, 3), np.float32), batch.source_cameras[0])
        list(task.reconstruct(np.ones((1, 56, 56, 3), np.float32), batch.source_cameras[0]).views(batch.cameras[0], 8))
        assert {cell.training for cell in (mini, mini.synthesizer, mini.transformer)} == {state}


def test_first_non_finite_tensor_is_named(pynative, mini, batch, task_of):
    gradient = task_of(mini)
    assert gradient.first_non_finite(batch, 0) == "nothing when computed again"
    spoiled = dataclasses.replace(batch, images=np.full_like(batch.images, np.inf))
    assert gradient.first_non_finite(spoiled, 0) == "images"
    mini.upsampler.bias.set_data(mini.upsampler.bias * float("nan"))
    assert gradient.first_non_finite(batch, 0) == "parameter upsampler.bias"


def test_recomputed_layers_give_the_same_gradient(pynative, mini, golden_dir, batch, task_of):
    recomputed = ModelLRM.from_pretrained(str(golden_dir))
    for layer in recomputed.transformer.layers:
        layer.recompute()
    first, second = task_of(mini), task_of(recomputed)
    plain = named(first, first.gradient(batch, 0))
    for name, gradient in named(second, second.gradient(batch, 0)).items():
        assert relative(gradient, plain[name]) < 1e-5, name
