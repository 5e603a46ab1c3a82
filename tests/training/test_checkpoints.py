"""Files a run leaves: whole, or the one before; recent ones dense, old ones sparse."""

import os

import numpy as np
import pytest

from openlrm.errors import UserError
from openlrm.training.checkpoints import PREVIOUS, RESUME, Checkpoints, Position, checksum, surplus


def state(value):
    return {"layer.weight": np.full((3, 2), value, np.float32), "optimizer.updates": np.array([value], np.int64)}


@pytest.fixture
def saved(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save_resume(state(1), Position(10, 2, 1))
    checkpoints.save_resume(state(2), Position(20, 4, 0))
    return checkpoints


def test_newest_state_comes_back(saved):
    tensors, position = saved.load_resume()
    assert position == Position(20, 4, 0)
    assert set(tensors) == set(state(2))
    for name, value in state(2).items():
        np.testing.assert_array_equal(tensors[name], value)


def test_only_the_newest_and_the_one_before_are_there(saved):
    saved.save_resume(state(3), Position(30))
    assert set(os.listdir(saved.folder)) == {RESUME, PREVIOUS}


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_newest_gives_the_one_before_and_says_so(saved, damage, monkeypatch):
    path = saved.folder / RESUME
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = b""
    else:
        at = content.index(np.float32(2).tobytes())
        content[at + 2] ^= 1
    path.write_bytes(content)
    told = []
    monkeypatch.setattr("openlrm.training.checkpoints.logger.warning", lambda *words: told.append(str(words)))
    _, position = saved.load_resume()
    assert position == Position(10, 2, 1)
    assert "state before it" in told[0]
    # A damaged file must not take the good one's place at the next save.
    saved.save_resume(state(3), Position(30))
    os.remove(path)
    assert saved.load_resume()[1] == Position(10, 2, 1)


def test_killed_between_the_renames(saved):
    os.replace(saved.folder / RESUME, saved.folder / PREVIOUS)
    assert saved.load_resume()[1] == Position(20, 4, 0)


def test_what_a_killed_run_left_half_written_is_removed(saved):
    (saved.folder / ".tmp-0123456789ab.ckpt").write_bytes(b"half")
    saved.load_resume()
    assert set(os.listdir(saved.folder)) == {RESUME, PREVIOUS}


def test_nothing_usable_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no usable train_resume.ckpt"):
        Checkpoints(tmp_path, 3).load_resume()


def test_failed_write_leaves_what_was_there(saved, monkeypatch):
    def fail(path, tensors):
        path.write_bytes(b"half")
        raise OSError("disk")

    monkeypatch.setattr("openlrm.training.checkpoints.write_ckpt", fail)
    with pytest.raises(OSError, match="disk"):
        saved.save_resume(state(3), Position(30))
    assert saved.load_resume()[1] == Position(20, 4, 0)
    assert len(os.listdir(saved.folder)) == 2


def test_checksum_knows_names_values_and_not_the_order():
    a = state(1)
    assert checksum(a) == checksum(dict(reversed(a.items())))
    assert checksum(a) != checksum(state(2))
    assert checksum(a) != checksum({"other.weight": a["layer.weight"], "optimizer.updates": a["optimizer.updates"]})


def test_model_checkpoints_are_thinned(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=4)
    for epoch in range(1, 21):
        checkpoints.save_model({"w": np.zeros(1, np.float32)}, epoch)
    epochs = checkpoints.epochs()
    assert len(epochs) == 4
    assert epochs[-2:] == [19, 20]
    assert epochs[0] == 1


def test_recent_ones_are_dense_and_gaps_grow_with_age():
    kept = []
    for epoch in range(1, 401):
        kept.append(epoch)
        kept = [e for e in kept if e not in surplus(kept, 12)]
    assert kept[-6:] == list(range(395, 401))
    assert kept[0] == 1
    gaps = np.diff(kept)
    assert gaps[0] > gaps[3] > gaps[-1]
    assert surplus([5, 1], 2) == []
