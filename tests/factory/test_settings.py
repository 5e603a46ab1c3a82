"""The settings of the driver are the options of the Blender script."""

import importlib.util
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from openlrm.errors import UserError
from openlrm.factory.blender import find_script
from openlrm.factory.settings import RenderSettings
from openlrm.factory.sources import SUFFIXES

OF_THE_DRIVER = {"object_path", "output_dir", "uid", "overwrite", "threads", "parent", "verbose"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("blender_script", find_script(None))
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


def parsed(script, settings):
    return vars(script.parse(["--object_path", "a.glb", "--output_dir", "out", *settings.arguments()]))


def plain(value):
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def test_defaults_are_the_same(script):
    there = {name: plain(value) for name, value in parsed(script, RenderSettings()).items()}
    bare = {
        name: plain(value) for name, value in vars(script.parse(["--object_path", "a", "--output_dir", "b"])).items()
    }
    ours = {field.name: getattr(RenderSettings(), field.name) for field in fields(RenderSettings)}
    assert {name: value for name, value in there.items() if name not in OF_THE_DRIVER} == ours
    assert {name: value for name, value in bare.items() if name not in OF_THE_DRIVER} == ours


def test_everything_arrives(script, tmp_path):
    settings = RenderSettings(
        views=3,
        denoise=False,
        camera="file",
        camera_file="poses.npy",
        distance=[2.0, 2.5],
        height=[-0.5, 0.5],
        up_axis="Z",
        maps=["depth", "albedo"],
        renderer="eevee",
        environment_map="sky.hdr",
    )
    there = parsed(script, settings)
    for field in fields(RenderSettings):
        if field.name not in ("camera_file", "environment_map"):
            assert plain(there[field.name]) == getattr(settings, field.name), field.name
    assert there["camera_file"] == Path.cwd() / "poses.npy", "wherever the script runs"
    assert there["environment_map"] == Path.cwd() / "sky.hdr"


def test_choices_are_the_same(script):
    for field in fields(RenderSettings):
        for choice in field.metadata.get("choices") or ():
            value = [choice] if field.name == "maps" else choice
            more = {"camera_file": "a.npy"} if choice == "file" else {}
            assert plain(parsed(script, RenderSettings(**{field.name: value}, **more))[field.name]) == value


def test_suffixes_are_the_same(script):
    source = (find_script(None).parent / "blender_scene.py").read_text()
    assert f"SUFFIXES = {SUFFIXES!r}".replace("'", '"') in source


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"focal": 0.0}, "render.focal=0.0 is not positive"),
        ({"light_strength": float("nan")}, "render.light_strength=nan is not positive"),
        ({"distance": [2.0]}, "render.distance"),
        ({"camera": "file"}, "belong together"),
        ({"camera_file": "a.npy"}, "belong together"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        RenderSettings(**options)
