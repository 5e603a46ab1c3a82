"""Training in half precision on the golden miniature: what is cast, the curve, an overflow, going on exactly."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from openlrm import ModelLRM
from openlrm.ops import casting
from openlrm.ops.casting import product_cells
from openlrm.training.config import OptimConfig, PrecisionConfig, SchedulerConfig
from openlrm.training.update import Update

pytestmark = pytest.mark.usefixtures("pynative")

LEVELS = [("O1", "bf16"), ("O2", "bf16"), ("O2", "fp16")]
STEPS = 20


@pytest.fixture
def run_of(golden_dir, task_of):
    """(level, dtype) -> an update of the golden miniature."""

    def make(level="O0", dtype="fp32", **precision):
        model = ModelLRM.from_pretrained(str(golden_dir))
        task = task_of(
            model,
            precision=PrecisionConfig(amp_level=level, dtype=dtype, **precision),
            optim=OptimConfig(start_learning_rate=1e-4, weight_decay=0.05),
            scheduler=SchedulerConfig(scheduler="constant", warmup_steps=0),
            use_ema=True,
        )
        return Update(task, task.config.train, STEPS)

    return make


def weights(run) -> dict[str, np.ndarray]:
    return {name: parameter.asnumpy().copy() for name, parameter in run.task.model.parameters_and_names()}


def test_losses_of_twenty_steps(run_of, batch):
    """All are within 2e-2 of float32."""
    curves = {}
    for level, dtype in [("O0", "fp32"), ("O1", "bf16"), ("O2", "fp16")]:
        run = run_of(level, dtype)
        curves[level, dtype] = [run([batch], step).parts["loss"] for step in range(STEPS)]
    exact = np.array(curves.pop(("O0", "fp32")))
    assert exact[-1] < 0.9 * exact[0]
    for name, curve in curves.items():
        deviation = np.abs(np.array(curve) / exact - 1)
        assert 0 < deviation.max() < 2e-2, name


def test_both_levels_cast_the_same_numbers(run_of, batch):
    steps = [[run([batch], step).parts for step in range(2)] for run in (run_of("O1", "bf16"), run_of("O2", "bf16"))]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_parameters_gradients_and_state_stay_float32_under_their_names(level, dtype, run_of, batch):
    plain, run = run_of(), run_of(level, dtype)
    gradient = run.task.gradient(batch, 0)
    assert {g.dtype for g in gradient.gradients} == {ms.float32}
    run([batch], 0)
    assert {p.dtype for p in run.task.model.get_parameters()} == {ms.float32}
    assert weights(run).keys() == weights(plain).keys()
    assert {name: value.dtype for name, value in run.state().items()} == {
        name: value.dtype for name, value in plain.state().items()
    }


@pytest.mark.parametrize("level", ["O1", "O2"])
def test_what_is_cast(level, run_of, batch, monkeypatch):
    """Every weight of a product of encoder and transformer but the norms' modulations; at O2 once for two batches."""
    run = run_of(level, "bf16")
    model, seen = run.task.model, []
    names = {id(parameter): name for name, parameter in model.parameters_and_names()}
    original = casting.Cast.construct
    monkeypatch.setattr(casting.Cast, "construct", lambda self, x: seen.append(names.get(id(x))) or original(self, x))
    run.config.gradient_accumulation_steps = 2
    run([batch, batch], 0)
    counts = {name: seen.count(name) for name in seen if name}
    expected = {
        f"{part}.{name}.{weight}" if name else f"{part}.{weight}"
        for part in ("encoder", "transformer")
        for name, cell in product_cells(getattr(model, part)).items()
        for weight in cell.products
        if getattr(cell, weight, None) is not None
    }
    assert counts.keys() == expected
    assert set(counts.values()) == {1 if level == "O2" else 2}
    assert not [name for name in expected if ".norm" in name]
    assert (
        len([name for name in expected if "attn" in name]) > 3 and "encoder.model.patch_embed.proj.weight" in expected
    )


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_numbers_are_of_the_format(dtype, run_of, batch, monkeypatch):
    """What products and attention are given is exact in the format; what they give, and norms are given, is not."""
    half = {"bf16": ms.bfloat16, "fp16": ms.float16}[dtype]
    run = run_of("O1", dtype)
    exact = {"product": [], "norm": []}

    def is_half(x):
        return bool((ops.cast(ops.cast(x, half), ms.float32) == x).all())

    from openlrm.nn.transformer import attention as module
    from openlrm.ops import layers

    of_norm, product = layers.LayerNorm.construct, module.linear
    attention = module.attention
    monkeypatch.setattr(
        layers.LayerNorm, "construct", lambda self, x, *a: exact["norm"].append(is_half(x)) or of_norm(self, x, *a)
    )
    monkeypatch.setattr(
        module, "linear", lambda x, w, *a: exact["product"].append(is_half(x) and is_half(w)) or product(x, w, *a)
    )
    monkeypatch.setattr(
        module,
        "attention",
        lambda q, k, v, n: exact["product"].extend(map(is_half, (q, k, v))) or attention(q, k, v, n),
    )
    run([batch], 0)
    assert len(exact["product"]) > 10 and all(exact["product"])
    assert len(exact["norm"]) > 5 and not any(exact["norm"][1:])


def test_an_overflow_halves_the_scale_and_is_survived(run_of, batch):
    run = run_of("O2", "fp16", init_loss_scale=2.0**24)
    before, scale = weights(run), run.scaler.scale
    reports = [run([batch], 0)]
    # The scaled gradient leaves fp16's range in the first products of the backward pass.
    while reports[-1].overflow:
        for name, value in weights(run).items():
            np.testing.assert_array_equal(value, before[name], name)
        scale /= 2
        assert run.scaler.scale == scale and not reports[-1].applied
        reports.append(run([batch], 0))
    assert len(reports) > 1 and reports[-1].applied and np.isfinite(reports[-1].norm)
    assert any((value != before[name]).any() for name, value in weights(run).items())


def test_going_on_at_o2_is_exact(run_of, batch):
    whole = run_of("O2", "fp16")
    for step in range(2):
        whole([batch], step)
    state, halfway = {name: value.copy() for name, value in whole.state().items()}, weights(whole)
    expected = [whole([batch], step).parts for step in range(2, 4)]
    again = run_of("O2", "fp16")
    for name, parameter in again.task.model.parameters_and_names():
        parameter.set_data(ms.Tensor(halfway[name]))
    again.load_state(state)
    assert [again([batch], step).parts for step in range(2, 4)] == expected
    for name, value in weights(again).items():
        np.testing.assert_array_equal(value, weights(whole)[name], name)
