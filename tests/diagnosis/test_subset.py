"""diagnose.subset: drawn objects in the layout of training data, and the split."""

import json

import numpy as np
import pytest

from openlrm import launch
from openlrm.cameras import Camera, orbit
from openlrm.diagnosis.objects import list_objects, read_subject
from openlrm.errors import UserError
from openlrm.factory.shapes import Shape, trace


def test_drawn_objects_and_their_split(tmp_path):
    command = ["diagnose.subset", f"output={tmp_path}", "shapes=5", "num_views=3", "resolution=24"]
    assert launch.main(command) == 0
    train, val = list_objects(str(tmp_path), "train"), list_objects(str(tmp_path), "val")
    assert len(train) == 4 and len(val) == 1 and not set(train) & set(val)
    subject = read_subject(str(tmp_path), val[0])
    assert len(subject.views) == 3 and 1.9 <= subject.distance <= 2.6
    assert 0.01 < subject.views.rgba[..., 3].mean() < 0.6
    first = (tmp_path / val[0] / "rgba" / "000.png").read_bytes()
    assert launch.main([*command[:1], f"output={tmp_path / 'again'}", *command[2:]]) == 0
    assert (tmp_path / "again" / val[0] / "rgba" / "000.png").read_bytes() == first
    stamp = (tmp_path / val[0]).stat().st_mtime_ns
    assert launch.main(command) == 0 and (tmp_path / val[0]).stat().st_mtime_ns == stamp


@pytest.mark.parametrize("count", [1, 2])
def test_chosen_objects(tmp_path, count):
    (tmp_path / "meta.json").write_text(json.dumps(["a", "b", "c"]))
    assert launch.main(["diagnose.subset", f"output={tmp_path}", f"num_objects={count}"]) == 0
    parts = {
        name: json.loads((tmp_path / "meta" / f"{name}_uids.json").read_text()) for name in ("all", "train", "val")
    }
    assert len(parts["all"]) == count and sorted(parts["train"] + parts["val"]) == parts["all"]
    assert len(parts["train"]) == 1


def test_more_than_there_are(tmp_path, capsys):
    (tmp_path / "meta.json").write_text(json.dumps(["a"]))
    assert launch.main(["diagnose.subset", f"output={tmp_path}", "num_objects=2"]) == 2
    assert "num_objects=2, but there are 1" in capsys.readouterr().err and not (tmp_path / "meta").exists()


def test_no_list():
    with pytest.raises(UserError, match="no list of objects"):
        list_objects("nowhere", "val")


def test_a_ball_is_as_wide_as_it_should_be():
    """A ball of radius r at distance d spans f r / sqrt(d^2 - r^2) to either side."""
    ball = Shape("sphere", np.zeros(3), 0.4, np.ones((2, 3)), 1)
    camera = Camera(orbit(30, 10, 2.0))
    picture = trace([ball], camera, 96)
    radius = camera.intrinsics[0] * 0.4 / np.sqrt(4 - 0.16)
    assert picture[..., 3].mean() == pytest.approx(np.pi * radius**2, rel=0.01)
    assert picture[48, 48, 3] == 1 and picture[0, 0, 3] == 0


def test_checks_are_on_the_surface_alone():
    box = Shape("box", np.zeros(3), 0.4, np.array([[1.0, 0, 0], [0, 0, 1.0]]), 10)
    shown = trace([box], Camera(orbit(20, 20, 2.0)), 64)
    seen = shown[shown[..., 3] == 1]
    assert (seen[:, 0] > 0.3).any() and (seen[:, 2] > 0.3).any() and (seen[:, 1] == 0).all()
