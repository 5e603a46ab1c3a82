"""The fused renderer of training: pictures and gradients against the MindSpore renderer, whose slopes are tested."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from openlrm.cameras import Camera, look_at, turntable
from openlrm.representations.triplane import TriplaneSynthesizer
from openlrm.representations.triplane import synthesizer as synthesizer_module
from openlrm.representations.triplane.host import march as march_module

OBJECTS, VIEWS, REGION, SAMPLES, CHANNELS, SIDE = 2, 3, 10, 24, 20, 16


class Problem:
    """A smooth field, views of it (one misses in part), draws in no order, and gradients of the pictures."""

    def __init__(self, samples: int = SAMPLES):
        rng = np.random.default_rng(3)
        self.synthesizer = TriplaneSynthesizer(CHANNELS, samples).set_train(True)
        for parameter in self.synthesizer.get_parameters():
            spread = 1.5 / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.3
            parameter.set_data(Tensor(rng.normal(0, spread, parameter.shape).astype(np.float32)))
        self.planes = Tensor(rng.standard_normal((OBJECTS, 3, CHANNELS, SIDE, SIDE)).astype(np.float32))
        poses = turntable(OBJECTS * VIEWS, radius=2.0)
        poses[-1] = look_at([0, -3, 0.4], [1.5, 0, 0])
        rays = OBJECTS * VIEWS * REGION**2
        arrays = [
            Camera(poses).render_record().reshape(OBJECTS, VIEWS, 25),
            rng.integers(0, 4, (OBJECTS, VIEWS, 2)),
            np.full((OBJECTS, VIEWS, 1), REGION + 4),
            rng.uniform(size=(OBJECTS, VIEWS, 1)),
            rng.random((rays, samples // 2)),
            rng.random((rays, samples // 2)),
        ]
        self.inputs = [Tensor(np.asarray(array, np.float32)) for array in arrays]
        shape = (OBJECTS, VIEWS, 1, REGION, REGION)
        shapes = {"images_rgb": (*shape[:2], 3, *shape[3:]), "images_depth": shape, "images_weight": shape}
        self.pull = {name: Tensor(rng.standard_normal(s).astype(np.float32)) for name, s in shapes.items()}

    def render(self, planes):
        return self.synthesizer(planes, *self.inputs[:4], REGION, *self.inputs[4:])

    def loss(self, planes):
        out = self.render(planes)
        return sum((out[name] * pull).sum() for name, pull in self.pull.items())

    def gradients(self) -> dict[str, np.ndarray]:
        weights = ms.ParameterTuple(self.synthesizer.get_parameters())
        _, (of_planes, of_weights) = ms.value_and_grad(self.loss, 0, weights)(self.planes)
        named = {p.name: g.asnumpy() for p, g in zip(weights, of_weights, strict=True)}
        return {"planes": of_planes.asnumpy()} | named


@pytest.fixture
def problem(pynative) -> Problem:
    return Problem()


@pytest.fixture
def without_host(monkeypatch):
    def call(function, *arguments):
        with monkeypatch.context() as patch:
            patch.setattr(synthesizer_module, "marches_on_host", lambda: False)
            return function(*arguments)

    return call


def test_pictures(problem, without_host):
    found, expected = problem.render(problem.planes), without_host(problem.render, problem.planes)
    opacity = expected["images_weight"].asnumpy()
    assert opacity.min() == 0 and opacity.max() > 0.9
    for name, wanted in expected.items():
        np.testing.assert_allclose(found[name].asnumpy(), wanted.asnumpy(), rtol=0, atol=5e-5, err_msg=name)


def test_gradients(problem, without_host):
    """A ReLU that rounding moves across zero changes a row of a gradient: hence the two bounds."""
    found, expected = problem.gradients(), without_host(problem.gradients)
    assert found.keys() == expected.keys() and len(found) == 9
    for name, wanted in expected.items():
        error = np.abs(found[name] - wanted) / np.abs(wanted).max()
        assert np.median(error) < 2e-5, name
        assert np.linalg.norm(found[name] - wanted) < 5e-3 * np.linalg.norm(wanted), name


def test_same_bytes_again(problem):
    first, again = problem.gradients(), problem.gradients()
    assert all((first[name] == again[name]).all() for name in first)


@pytest.mark.parametrize("task", [7, 10000])
def test_sizes_of_tasks_do_not_matter(problem, monkeypatch, task):
    expected, expected_loss = problem.gradients(), problem.loss(problem.planes).asnumpy()
    monkeypatch.setattr(march_module, "_TASK_RAYS", task)
    assert problem.loss(problem.planes).asnumpy() == expected_loss
    for name, found in problem.gradients().items():
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=2e-5 * scale, err_msg=name)


def test_rays_that_miss_give_no_gradient(pynative):
    problem = Problem()
    away = Camera(np.stack([look_at([9, 0, 0], [9, 9, 0])] * OBJECTS * VIEWS)).render_record()
    problem.inputs[0] = Tensor(away.reshape(OBJECTS, VIEWS, 25).astype(np.float32))
    assert all((gradient == 0).all() for gradient in problem.gradients().values())


def test_steep_fields_stay_finite(problem):
    problem.planes = problem.planes * 1e4
    assert all(np.isfinite(gradient).all() for gradient in problem.gradients().values())
