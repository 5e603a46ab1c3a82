"""`doctor --acceptance`: everything is asked, on a CPU at small sizes, and what is wrong is told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openlrm.doctor import acceptance
from openlrm.doctor.acceptance import CURVE, SMALL, Acceptance
from openlrm.doctor.acceptance_parts import exact_attention
from openlrm.errors import UserError
from openlrm.families.lrm.golden_check import FOLDER, GoldenCase, golden_curve

REPO = Path(__file__).resolve().parents[2]


def test_as_a_user_types_it(tmp_path):
    command = [sys.executable, "-m", "openlrm.launch", "doctor", "--acceptance", "out", "device_target=CPU"]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "out" / "acceptance.json").read_text())
    found = {(entry["part"], entry["name"]): entry for entry in report["entries"]}
    assert {part for part, _ in found} == {
        "golden numbers",
        "attention",
        "training curve",
        "frame and mesh",
        "training command",
    }
    for place in (("attention", "float32"), ("training curve", "3 steps"), ("training command", "O0 fp32")):
        assert found[place]["status"] == "ok", found[place]
    assert not [entry for entry in report["entries"] if entry["status"] == "problem"]
    assert found["frame and mesh", "golden model"]["figures"]["vertices"] > 0
    assert report["facts"]["device"] == "CPU" and report["facts"]["mindspore"]
    page = (tmp_path / "out" / "acceptance.html").read_text()
    assert "golden numbers" in page and "data:image/jpeg" in page


def test_the_stored_curve_is_what_is_computed(pynative):
    """Twenty steps; other kernels of a CPU round otherwise, which these weights magnify (see test_peer_curve.py)."""
    expected = json.loads((FOLDER / CURVE).read_text())
    losses = golden_curve(GoldenCase(FOLDER), 20)
    assert len(expected) == 20 and losses[-1] < 0.8 * losses[0]
    assert np.abs(losses / expected - 1).max() < acceptance.CURVE_TOLERANCE


@pytest.fixture
def run(tmp_path, pynative):
    return Acceptance("CPU", tmp_path, SMALL)


def test_what_is_wrong_is_a_problem_and_the_rest_goes_on(run, monkeypatch, capsys):
    monkeypatch.setattr(acceptance, "exact_attention", lambda *arrays: [1.01 * x for x in exact_attention(*arrays)])

    def refused():
        raise UserError("no such format", hint="use another")

    run.ask("attention", "float32", run.attention, "float32")
    run.ask("part", "name", refused)
    run.ask("part", "crash", lambda: 1 / 0)
    statuses = [entry.status for entry in run.entries]
    assert statuses == ["problem", "none", "problem"]
    printed = capsys.readouterr().out
    assert "no such format. use another" in printed and "ZeroDivisionError" in printed


def test_the_published_figures_stand_beside_those_measured(run, monkeypatch):
    monkeypatch.setattr(acceptance, "measure", lambda kind: {"planes": 2.0, "frames": 3.0, "step": 4.0})
    run.ask("performance", "small", run.performance, "small")
    (entry,) = run.entries
    assert entry.status == "ok" and entry.figures["planes"] == 2.0
    assert entry.figures["published_910"] == {"planes": 0.72, "frames": 2.19, "step": 2.00}
