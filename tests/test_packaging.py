"""What a checkout contains and what an installation declares."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import openlrm

REPO = Path(__file__).resolve().parents[1]
SAMPLE_INPUT = REPO / "assets" / "sample_input"
SAMPLE_OBJECT = REPO / "assets" / "sample_object"
MAX_FILE_BYTES = 2 * 2**20
LARGE_FILES = {"assets/openlrm-tiny-demo/model.safetensors"}
"""Tracked files that may be larger, each with a reason."""


@pytest.fixture(scope="module")
def pyproject() -> dict:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader")
    return tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "phrases"),
    [
        ("LICENSE", ["Apache License", "Version 2.0, January 2004", "END OF TERMS AND CONDITIONS"]),
        ("LICENSE_WEIGHT", ["CC BY-NC 4.0", "https://creativecommons.org/licenses/by-nc/4.0/legalcode"]),
        ("LICENSE_NVIDIA", ["EG3D", "includes none of it"]),
    ],
)
def test_licences_say_what_they_must(name, phrases):
    text = (REPO / name).read_text(encoding="utf-8")
    assert [phrase for phrase in phrases if phrase not in text] == []


def test_licences_are_installed_too(pyproject):
    assert set(pyproject["project"]["license-files"]) == {path.name for path in REPO.glob("LICENSE*")}


def test_data_files_are_installed_too(pyproject):
    declared = pyproject["tool"]["setuptools"]["package-data"]
    modules = set(REPO.glob("openlrm/**/__init__.py"))
    covered = {
        path
        for package, patterns in declared.items()
        for pattern in patterns
        for path in REPO.joinpath(*package.split(".")).glob(pattern)
    }
    left_out = [
        path.relative_to(REPO)
        for path in (REPO / "openlrm").rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix != ".py" or path.parent / "__init__.py" not in modules)
        and path not in covered
    ]
    assert left_out == [], "name them in pyproject.toml, [tool.setuptools.package-data]"


def test_version_has_one_source(pyproject):
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "openlrm.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", openlrm.__version__)


def test_version_is_read_without_importing():
    tree = ast.parse((REPO / "openlrm" / "__init__.py").read_text(encoding="utf-8"))
    literals = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__version__"
    ]
    assert literals == [openlrm.__version__]


def test_installed_version_is_this_one():
    try:
        installed = importlib.metadata.version("openlrm-mindspore")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("openlrm-mindspore is not installed")
    assert installed == openlrm.__version__


def test_every_dependency_is_bounded(pyproject):
    unbounded = [name for name in pyproject["project"]["dependencies"] if ">=" not in name or "<" not in name]
    assert unbounded == []


def test_console_script_exists(pyproject):
    module, function = pyproject["project"]["scripts"]["openlrm"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_model_is_exported_lazily():
    script = (
        "import sys, openlrm\n"
        "assert 'ModelLRM' in dir(openlrm) and 'mindspore' not in sys.modules\n"
        "from openlrm import ModelLRM\n"
        "assert openlrm.ModelLRM is ModelLRM\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    with pytest.raises(AttributeError, match="no attribute 'NoSuchModel'"):
        _ = openlrm.NoSuchModel


def test_sample_pictures():
    pictures = sorted(SAMPLE_INPUT.glob("*.png"))
    modes = {}
    for path in pictures:
        with Image.open(path) as image:
            image.load()
            modes[path.stem] = image.mode
            assert all(256 <= side <= 512 for side in image.size)
            if image.mode == "RGBA":
                assert image.getchannel("A").getextrema() == (0, 255)
        assert path.stat().st_size < 80_000
    assert len(pictures) >= 6
    assert set(modes.values()) == {"RGB", "RGBA"}
    readme = (SAMPLE_INPUT / "README.md").read_text(encoding="utf-8")
    assert [name for name in modes if f"`{name}`" not in readme] == []


def test_sample_object_is_in_the_training_layout():
    (uid,) = json.loads((SAMPLE_OBJECT / "meta.json").read_text(encoding="utf-8"))
    folder = SAMPLE_OBJECT / uid
    names = [f"{view:03d}" for view in range(32)]
    assert sorted(path.stem for path in (folder / "rgba").iterdir()) == names
    assert sorted(path.stem for path in (folder / "pose").iterdir()) == names

    focal, centre, size = np.load(folder / "intrinsics.npy")
    np.testing.assert_array_equal(size, [128, 128])
    np.testing.assert_array_equal(centre, size / 2)
    np.testing.assert_array_equal(focal, 0.75 * size)

    for name in names:
        with Image.open(folder / "rgba" / f"{name}.png") as image:
            assert (image.mode, image.size) == ("RGBA", (128, 128))
            assert image.getchannel("A").getextrema() == (0, 255)
        pose = np.load(folder / "pose" / f"{name}.npy")
        rotation, position = pose[:, :3], pose[:, 3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) > 0
        distance = np.linalg.norm(position)
        assert 1.9 <= distance <= 2.6
        # The camera looks along its -Z at the origin.
        np.testing.assert_allclose(rotation[:, 2], position / distance, atol=1e-5)
        if name == "000":
            np.testing.assert_allclose(position, [0, -distance, 0], atol=1e-5)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2**20


def test_no_large_file_is_tracked():
    if shutil.which("git") is None or not (REPO / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)
    tracked = [name for name in listed.stdout.split("\0") if name and (REPO / name).is_file()]
    assert "pyproject.toml" in tracked
    large = {name for name in tracked if (REPO / name).stat().st_size > MAX_FILE_BYTES}
    assert large == LARGE_FILES
