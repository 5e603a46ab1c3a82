"""`doctor`: what it prints and returns when all is well, and when something is not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from openlrm.doctor import Report, checks, ok, packages
from openlrm.errors import UserError
from openlrm.families.lrm import golden_check as golden
from openlrm.runners import doctor

REPO = Path(__file__).resolve().parents[2]


def findings(printed: str) -> dict[str, str]:
    """Name of a check -> its status, from the lines before the verdict."""
    return {line[9:41].strip(): line[:8].strip() for line in printed.splitlines()[:-1]}


def run(**options) -> int:
    return doctor.Doctor(doctor.DoctorConfig(hub=False, device_target="CPU", **options)).run()


@pytest.fixture
def copied_golden(golden_dir, tmp_path, monkeypatch):
    """A copy of the golden files that `doctor` reads instead."""
    folder = tmp_path / "golden"
    folder.mkdir()
    for name in ("config.json", "golden.npz", "model.safetensors"):
        shutil.copy(golden_dir / name, folder / name)
    monkeypatch.setattr(golden, "FOLDER", folder)
    return folder


@pytest.fixture
def one_stage(pynative, monkeypatch):
    """`doctor` checks the camera embedding alone, which takes a moment even in graph mode."""
    monkeypatch.setattr(golden, "STAGES", {"camera embedding": golden.STAGES["camera embedding"]})
    yield
    from openlrm.ops import setup_device

    setup_device("CPU", 1)


def test_as_a_user_types_it(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "openlrm.launch", "doctor", "mode=1", "hub=false"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "all is well"
    found = findings(result.stdout)
    assert set(found.values()) <= {"ok", "note"}
    for name in ("mesh", "video", "device", *(f"lrm {stage} (PyNative)" for stage in golden.STAGES)):
        assert found[name] == "ok", name
    assert "hub" not in found
    assert list(tmp_path.iterdir()) == []


def test_both_modes_are_checked_by_default(one_stage, capsys):
    assert run() == 0
    found = findings(capsys.readouterr().out)
    assert found["lrm camera embedding (PyNative)"] == found["lrm camera embedding (graph)"] == "ok"


@pytest.mark.parametrize("name", ["golden.npz", "model.safetensors", "config.json"])
def test_cut_golden_file_is_reported(pynative, copied_golden, name, capsys):
    content = (copied_golden / name).read_bytes()
    (copied_golden / name).write_bytes(content[: len(content) // 2])
    assert run(mode=1) == 1
    printed = capsys.readouterr().out
    assert findings(printed)["lrm golden files"] == "problem"
    assert name in printed and "git checkout -- openlrm/families/lrm/golden" in printed
    assert printed.splitlines()[-1] == "1 of the checks found a problem: lrm golden files"


def test_wrong_weight_is_seen_in_its_stage_alone(pynative, copied_golden, monkeypatch, capsys):
    kept = ("encoder", "camera embedding", "field points")
    monkeypatch.setattr(golden, "STAGES", {stage: golden.STAGES[stage] for stage in kept})
    weights = load_file(copied_golden / "model.safetensors")
    name = next(name for name in weights if name.startswith("camera_embedder") and name.endswith("weight"))
    weights[name] = weights[name] * np.float32(1.01)
    save_file(weights, copied_golden / "model.safetensors")
    assert run(mode=1) == 1
    found = findings(capsys.readouterr().out)
    assert [found[f"lrm {stage} (PyNative)"] for stage in kept] == ["ok", "problem", "ok"]


def test_a_failing_check_does_not_stop_the_others(one_stage, monkeypatch, capsys):
    def crash():
        raise RuntimeError("no cubes\ntoday")

    monkeypatch.setattr(checks, "check_mesh", crash)
    assert run(mode=1) == 1
    printed = capsys.readouterr().out
    found = findings(printed)
    assert found.pop("mesh") == "problem"
    assert "problem" not in found.values() and found["lrm camera embedding (PyNative)"] == "ok"
    assert "RuntimeError: no cubes (" in printed and "today" not in printed


def test_missing_ascend_is_reported_and_not_computed_on(pynative, monkeypatch, capsys):
    monkeypatch.setattr("openlrm.ops.device.ascend_available", lambda: False)
    assert doctor.Doctor(doctor.DoctorConfig(hub=False, device_target="Ascend")).run() == 1
    found = findings(capsys.readouterr().out)
    assert found["device"] == "problem" and found["video"] == "ok"
    assert "lrm golden files" not in found


def test_unreachable_hub_is_a_note(monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    finding = checks.check_hub()
    assert finding.status == "note" and "no route" in finding.text
    assert "HF_ENDPOINT" in finding.hint and "HF_HOME" in finding.hint


def test_video_that_comes_back_wrong(monkeypatch):
    import imageio_ffmpeg

    read = imageio_ffmpeg.read_frames

    def lose_the_last(path):
        return list(read(path))[:-1]

    def invert(path):
        meta, *frames = read(path)
        return [meta, *(bytes(255 - value for value in frame) for frame in frames)]

    for broken in (lose_the_last, invert):
        monkeypatch.setattr(imageio_ffmpeg, "read_frames", broken)
        assert checks.check_codec().status == "problem"


def test_folder_that_cannot_be_written(monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks.tempfile, "TemporaryFile", refuse)
    finding = checks.check_writable()
    assert finding.status == "problem" and "Permission denied" in finding.text


@pytest.mark.parametrize(
    ("version", "bounds", "inside"),
    [
        ("2.10.0", ">=2.7.2,<2.11", True),
        ("2.11.0", ">=2.7.2,<2.11", False),
        ("2.7.1", "<2.11,>=2.7.2", False),
        ("1.26.4", ">=1.26,<2", True),
        ("2.0.0", ">=1.26,<2", False),
        ("4", ">=4.0.0,<6", True),
        ("0.5.0+cpu", "==0.5", True),
        ("3.0rc1", ">=2,<3", False),
    ],
)
def test_version_bounds(version, bounds, inside):
    assert packages.fits(version, bounds) == inside


def test_dependencies_that_do_not_fit(monkeypatch):
    requirements = ["pytest>=1,<1000", "numpy>=1000,<1001", "no-such-package-here>=2,<3"]
    monkeypatch.setattr(packages, "declared", lambda: requirements)
    finding = packages.check_dependencies()
    assert finding.status == "problem"
    assert "no-such-package-here is missing, >=2,<3 is asked for" in finding.text and "pytest" not in finding.text
    assert finding.hint == 'pip install "numpy>=1000,<1001" "no-such-package-here>=2,<3"'


def test_nothing_declared_is_a_note(monkeypatch):
    monkeypatch.setattr(packages, "_DISTRIBUTION", "no-such-package-here")
    assert packages.check_dependencies().status == "note"


def test_what_cannot_be_compared_is_infinitely_wrong():
    expected = np.array([1.0, -4.0], np.float32)
    assert golden.relative_difference(np.array([1.0, -3.0], np.float32), expected) == 0.25
    assert golden.relative_difference(np.array([1.0, np.nan], np.float32), expected) == np.inf
    assert golden.relative_difference(expected[None], expected) == np.inf


def test_report_keeps_a_line_for_each_check(capsys):
    def mistaken():
        raise UserError("no\nffmpeg", "here", "install it")

    report = Report()
    assert report.check("fine", ok, "good").status == "ok"
    assert report.check("video", mistaken) == ("problem", "no ffmpeg: here", "install it")
    assert report.finish() == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{'ok':8} {'fine':32} good",
        f"{'problem':8} {'video':32} no ffmpeg: here. install it",
        "1 of the checks found a problem: video",
    ]
