"""Collapse watch: every state is told from the others."""

import dataclasses

import pytest

from openlrm.training.watch import ALIVE, EMPTY, FOG, IGNORES, STUCK, Look, advice, look_at, verdict

GOOD = Look(opacity=0.2, alpha=0.2, planes_spread=0.3, pixel=0.01, input_gain=1.8, input_effect=0.1)


@pytest.mark.parametrize(
    ("changes", "earlier", "state"),
    [
        ({}, None, ALIVE),
        ({}, 0.012, ALIVE),
        ({}, 0.01, STUCK),
        ({"input_gain": 1.0}, 0.01, IGNORES),
        ({"input_gain": None, "input_effect": None}, None, ALIVE),
        ({"opacity": 0.001}, None, EMPTY),
        ({"opacity": 0.95}, None, FOG),
        ({"opacity": 0.95, "alpha": 0.9}, None, ALIVE),
    ],
)
def test_states(changes, earlier, state):
    assert verdict(dataclasses.replace(GOOD, **changes), earlier) == state
    assert (advice(state) is None) == (state == ALIVE)


def test_model_that_uses_its_input_is_seen(pynative, mini, double, task_of):
    task = task_of(mini)
    # Targets are what the model itself renders: nothing could be better than the right pictures.
    perfect = dataclasses.replace(double, images=task.render(double, 0)[1])
    look = look_at(task.render, perfect, 0)
    assert look.pixel == 0
    assert look.input_gain > 1e3
    assert look.input_effect > 1e-3
    assert look.planes_spread > 0.01
    assert look.alpha == pytest.approx(double.masks.mean())


def test_model_that_ignores_its_input_is_seen(pynative, mini, double, task_of):
    for layer in mini.transformer.layers:
        layer.cross_attn.out_proj.weight.set_data(layer.cross_attn.out_proj.weight * 0)
    look = look_at(task_of(mini).render, double, 0)
    assert look.input_gain == pytest.approx(1.0, abs=1e-6)
    assert look.planes_spread < 1e-6
    assert verdict(dataclasses.replace(look, opacity=look.alpha)) == IGNORES


def test_one_object_has_nothing_to_exchange(pynative, mini, double, task_of):
    look = look_at(task_of(mini).render, double, 0, exchange=False)
    assert look.input_gain is None
    assert "input_gain" not in look.scalars()
