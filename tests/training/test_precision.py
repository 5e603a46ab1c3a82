"""Which number formats are refused, and the arithmetic of the loss scale."""

import pytest
from mindspore import nn

from openlrm.errors import UserError
from openlrm.training.config import PrecisionConfig
from openlrm.training.precision import LossScaler, check_precision

HALF = {"amp_level": "O2", "dtype": "fp16", "init_loss_scale": 1024.0, "scale_window": 3}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"amp_level": "O1", "dtype": "fp32"},
            "amp_level=O1 contradicts .*dtype=fp32. use O0 with fp32, O1 or O2 with",
        ),
        ({"amp_level": "O0", "dtype": "fp16"}, "amp_level=O0 contradicts .*dtype=fp16"),
        ({"amp_level": "O2", "dtype": "bf16"}, "nothing of this model may be in half precision"),
    ],
)
def test_what_is_refused(options, said):
    with pytest.raises(UserError, match=said):
        check_precision(PrecisionConfig(**options), ())


def test_what_is_accepted():
    check_precision(PrecisionConfig(), ())
    for level in ("O1", "O2"):
        check_precision(PrecisionConfig(amp_level=level, dtype="bf16"), (nn.CellList(),))


def test_scale_halves_on_overflow_and_doubles_after_a_window():
    scaler = LossScaler(PrecisionConfig(**HALF))
    seen = []
    for finite in [True, True, False, True, True, True, True]:
        scaler.update(finite)
        seen.append(scaler.scale)
    assert seen == [1024, 1024, 512, 512, 512, 1024, 1024]


def test_scale_stays_within_bounds():
    scaler = LossScaler(PrecisionConfig(**HALF | {"init_loss_scale": 2.0}))
    for _ in range(5):
        scaler.update(False)
    assert scaler.scale == 1.0
    scaler = LossScaler(PrecisionConfig(**HALF | {"init_loss_scale": 2.0**24, "scale_window": 1}))
    scaler.update(True)
    assert scaler.scale == 2.0**24


@pytest.mark.parametrize("options", [{}, HALF | {"dtype": "bf16"}, HALF | {"loss_scaler_type": "static"}])
def test_other_formats_have_a_constant_scale(options):
    scaler = LossScaler(PrecisionConfig(**options))
    before = scaler.scale
    for finite in [True, False] * 5:
        scaler.update(finite)
    assert scaler.scale == before == (1024.0 if options.get("dtype") == "fp16" else 1.0)
