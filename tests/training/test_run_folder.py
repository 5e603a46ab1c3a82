"""Run folders: names, files, what changed."""

import dataclasses
import json

import pytest

from openlrm.errors import UserError
from openlrm.training.config import RunConfig
from openlrm.training.estimate import duration
from openlrm.training.run_folder import (
    build_manifest,
    changed_options,
    data_hash,
    find_run,
    new_run_folder,
    write_run_files,
)


def start(tmp_path, name="lrm"):
    folder = new_run_folder(str(tmp_path), name)
    manifest = build_manifest(RunConfig(), ["a"], [str(tmp_path)], "CPU")
    write_run_files(folder, RunConfig(), {"transformer_dim": 8}, ["a"], manifest)
    return folder


def test_runs_of_one_second_have_names_of_their_own(tmp_path):
    folders = {new_run_folder(str(tmp_path), "lrm") for _ in range(3)}
    assert len(folders) == 3


def test_files(tmp_path):
    folder = start(tmp_path)
    assert json.loads((folder / "config.json").read_text()) == {"transformer_dim": 8}
    assert json.loads((folder / "train_uids.json").read_text()) == ["a"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["seed"] == 42
    assert manifest["versions"]["mindspore"]
    assert manifest["data"]["objects"] == 1


def test_changed_options_are_found_with_both_values(tmp_path):
    folder = start(tmp_path)
    assert changed_options(folder, RunConfig()) == {}
    train = dataclasses.replace(RunConfig().train, batch_size=4)
    assert changed_options(folder, RunConfig(train=train)) == {"train.batch_size": (1, 4)}


def test_an_option_younger_than_the_run_had_its_default(tmp_path):
    folder = start(tmp_path)
    text = (folder / "cfg.yaml").read_text()
    assert "  use_ema: false\n" in text
    (folder / "cfg.yaml").write_text(text.replace("  use_ema: false\n", ""))
    assert changed_options(folder, RunConfig()) == {}
    train = dataclasses.replace(RunConfig().train, use_ema=True)
    assert changed_options(folder, RunConfig(train=train)) == {"train.use_ema": (False, True)}


def test_latest_run_is_the_newest_with_checkpoints(tmp_path):
    for name, complete in [("2026-01-01T00-00-00", True), ("2026-01-02T00-00-00", True), ("2026-01-03", False)]:
        folder = tmp_path / "lrm" / name
        (folder / "ckpt").mkdir(parents=True) if complete else folder.mkdir(parents=True)
        (folder / "cfg.yaml").write_text("{}")
    assert find_run(str(tmp_path), "lrm", "latest").name == "2026-01-02T00-00-00"
    with pytest.raises(UserError, match="no run to go on with"):
        find_run(str(tmp_path), "other", "latest")
    with pytest.raises(UserError, match="not a run folder"):
        find_run(str(tmp_path), "lrm", str(tmp_path))


def test_data_hash_sees_objects_and_files(tmp_path):
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "x.png"
    file.write_bytes(b"12")
    first = data_hash([str(tmp_path)], ["a"])
    assert first == data_hash([str(tmp_path)], ["a"])
    assert first != data_hash([str(tmp_path)], ["a", "b"])
    file.write_bytes(b"123")
    assert first != data_hash([str(tmp_path)], ["a"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (89, "89 s"), (600, "10 min"), (4000, "1 h 07 min"), (172800 * 2, "4.0 days")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
