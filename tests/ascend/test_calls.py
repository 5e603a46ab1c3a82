"""Every MindSpore call of device code is documented for Ascend and is there to stay."""

import ast

import pytest
from calls import Call, calls, device_files, find, names_in, platforms, withdrawn

CALLS = [call for call in calls() if call.kernel]


@pytest.mark.parametrize("call", CALLS, ids=[call.name for call in CALLS])
def test_documented(call: Call):
    where = f"{call.name}, used in {', '.join(call.files)}"
    assert call.thing is not None, f"the installed MindSpore has no {where}"
    assert "Ascend" in platforms(call.thing), f"no documentation for Ascend: {where}"
    assert not withdrawn(call.thing), f"{where}: {withdrawn(call.thing)}"


def test_the_list_holds_what_the_column_is_made_of():
    names = {call.name for call in CALLS}
    assert {"ops.flash_attention_score", "ops.MatMul", "ops.Adam", "ops.grid_sample", "Tensor.astype"} <= names
    assert len(list(device_files())) > 40 and len(names) > 80


@pytest.mark.parametrize(
    ("code", "name", "fails"),
    [
        ("ops.unstack(x)", "ops.unstack", "withdrawn"),
        ("ops.bias_add(x, b)", "ops.bias_add", "withdrawn"),
        ("ops.assign(p, x)", "ops.assign", "withdrawn"),
        ("ops.select(c, x, y)", "ops.select", "withdrawn"),
        ("ops.BesselJ0()(x)", "ops.BesselJ0", "platform"),
        ("ms.ops.flash(x)", "ops.flash", "missing"),
        ("ops.matmul(x, y)", "ops.matmul", "nothing"),
    ],
)
def test_what_would_fail(code, name, fails):
    assert name in set(names_in(ast.parse(code)))
    thing = find(name)
    found = "missing" if thing is None else "platform" if "Ascend" not in platforms(thing) else ""
    assert (found or ("withdrawn" if withdrawn(thing) else "nothing")) == fails
