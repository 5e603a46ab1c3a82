"""`prepare.occupancy`: shards make the whole, it goes on where it stopped, and says what it cannot use."""

import json

import numpy as np
import pytest
from PIL import Image

from openlrm.cameras import look_at
from openlrm.families.geolrm.occupancy import read_cells
from openlrm.launch import main
from openlrm.utils.images import save_image


@pytest.fixture
def plates(tmp_path):
    """Three objects of two views: a plate through the middle that fills each view's centre."""
    root = tmp_path / "objects"
    for uid in ("a", "b", "c"):
        folder = root / uid
        for name in ("rgba", "pose", "depth"):
            (folder / name).mkdir(parents=True)
        np.save(folder / "intrinsics.npy", np.array([[16.0, 16], [8, 8], [16, 16]]))
        for i, pose in enumerate(look_at([[0, -2, 0], [0, 2, 0]])):
            np.save(folder / "pose" / f"{i:03d}.npy", pose)
            save_image(folder / "rgba" / f"{i:03d}.png", np.ones((16, 16, 4), np.float32))
            depth = np.zeros((16, 16), np.uint16)
            depth[4:12, 4:12] = 2 * 8192
            Image.fromarray(depth).save(folder / "depth" / f"{i:03d}.png")
    (root / "meta.json").write_text(json.dumps(["a", "b", "c"]))
    return root


def run(root, out, *more):
    return main(["prepare.occupancy", f"root={root}", f"output={out}", "grid_size=16", *more])


def test_cells_lie_on_the_plate(plates, tmp_path):
    assert run(plates, tmp_path / "out") == 0
    cells = read_cells(tmp_path / "out", "a", 16)
    # A hit pixel beside a hole does not count: 6 of 8 pixels of 2/16 a side, half as large in GeoLRM's cube.
    assert cells[:, [0, 2]].min() >= 4 and cells[:, [0, 2]].max() < 12 and set(cells[:, 1]) <= {7, 8}


def test_shards_make_the_whole_and_go_on(plates, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(plates, out, "shard=1/2") == 0
    assert sorted(path.parent.name for path in out.rglob("pts.npy")) == ["b"]
    before = (out / "b" / "pts.npy").stat().st_mtime_ns
    assert run(plates, out) == 0
    assert len(list(out.rglob("pts.npy"))) == 3 and (out / "b" / "pts.npy").stat().st_mtime_ns == before


@pytest.mark.parametrize("shard", ["2/2", "1", "x/3", "-1/3"])
def test_no_shard(plates, tmp_path, capsys, shard):
    assert run(plates, tmp_path / "out", f"shard={shard}") == 2
    assert "is not i/n with i below n" in capsys.readouterr().err


def test_broken_maps_are_told(plates, tmp_path, capsys):
    (plates / "a" / "depth" / "001.png").unlink()
    save_image(plates / "b" / "depth" / "000.png", np.ones((16, 16, 3), np.float32))
    assert run(plates, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "no depth map" in told and "no 16-bit PNG" in told and "2 of 3 objects failed" in told
    assert [path.parent.name for path in (tmp_path / "out").rglob("pts.npy")] == ["c"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([[0, 0, 16]], np.uint8), "cells beyond 0 to 15"),
        (np.zeros((4, 2), np.uint8), r"not whole numbers \(N, 3\)"),
        (np.zeros((4, 3), np.float32), "not whole numbers"),
        (np.zeros((0, 3), np.uint8), "not whole numbers"),
    ],
)
def test_bad_cells(tmp_path, array, words):
    from openlrm.errors import UserError

    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "pts.npy", array)
    with pytest.raises(UserError, match=words):
        read_cells(str(tmp_path), "a", 16)
