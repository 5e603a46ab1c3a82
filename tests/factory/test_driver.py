"""The driver through its command line, with a stand-in for Blender."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from openlrm import launch
from openlrm.datasets import read_object
from openlrm.datasets.mindrecord import open_pack

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def drive(factory, capsys):
    def run(*options: str) -> tuple[int, str, str]:
        code = launch.main(factory.arguments(*options))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def listed(factory, name="meta.json"):
    return json.loads((factory.output / name).read_text())


def test_what_fails_is_tried_once_more_and_named(drive, factory):
    for uid, act in {"a": "render", "b": "bad", "c": "second", "d": "black", "e/f": "render"}.items():
        factory.add(uid, act)
    code, out, err = drive("val_share=0")
    assert code == 0
    assert Counter(factory.begun()) == {"a": 1, "b": 2, "c": 2, "d": 1, "e/f": 1}
    assert listed(factory) == ["a", "c", "e/f"]
    assert "3 objects for training, 0 for validation, 1 flagged, 1 failed" in out
    assert "  failed b: cannot be read: x.glb" in out and "  flagged d: black: " in out
    assert err.count("to be tried again: ") == 2
    assert "warning: failed: b: cannot be read: x.glb" in err
    assert {path.name for path in factory.output.iterdir()} == {
        *("a", "c", "d", "e", "meta.json", "manifest.jsonl", "data_card.md", "render_log.jsonl"),
        "render_settings.json",
    }


def test_what_is_there_is_not_rendered_again(drive, factory):
    for uid, act in {"a": "render", "b": "bad", "c": "render"}.items():
        factory.add(uid, act)
    drive()
    before = factory.begun()
    _, _, err = drive()
    assert factory.begun() == before
    assert "0 objects to render, 2 there already" in err
    assert "warning: failed before: b: cannot be read: x.glb" in err and "retry_failed=true" in err
    drive("retry_failed=true")
    assert Counter(factory.begun()) == {"a": 1, "b": 4, "c": 1}
    factory.add("b", "render")
    drive("val_share=0")
    assert Counter(factory.begun())["b"] == 5, "the file has been replaced"
    assert listed(factory) == ["a", "b", "c"]


def test_a_limit_of_time(drive, factory):
    factory.add("a", "hang")
    factory.add("b")
    code, out, _ = drive("time_limit=1", "val_share=0")
    assert code == 0
    assert "failed a: took longer than 1 s" in out
    assert listed(factory) == ["b"]


def test_shards_share_a_folder(drive, factory):
    uids = [f"object {number}" for number in range(8)]
    for uid in uids:
        factory.add(uid)
    for shard in (1, 2, 3):
        assert drive(f"shard={shard}/3", "val_share=0")[0] == 0
    assert sorted(factory.begun()) == uids == listed(factory)
    assert len(list(factory.output.glob("render_log.*-of-3.jsonl"))) == 3
    drive()
    assert sorted(factory.begun()) == uids, "nor by a driver of all"


def test_objects_of_a_set_are_rendered_alike(drive, factory):
    factory.add("a")
    drive("render.views=4")
    code, _, err = drive("render.views=5")
    assert code == 2
    assert "render.views=5, but the objects there have 4" in err
    assert drive("render.views=4", "render.device=cpu")[0] == 0, "machines have different devices"


def test_finish_only(drive, factory):
    for uid in "abcdefgh":
        factory.add(uid)
    drive()
    for name in ("meta.json", "manifest.jsonl", "data_card.md", "render_log.jsonl"):
        (factory.output / name).unlink()
    code, _, _ = drive("finish_only=true", "val_share=0.5", "licence=CC0")
    assert code == 0
    assert len(factory.begun()) == 8
    assert sorted(listed(factory) + listed(factory, "meta_val.json")) == list("abcdefgh")
    assert "| CC0 | 8 |" in (factory.output / "data_card.md").read_text()


def test_packing(drive, factory, tmp_path):
    for uid in "ab":
        factory.add(uid)
    drive()
    code, out, _ = drive("finish_only=true", f"pack={tmp_path / 'pack'}")
    assert code == 0
    assert f"wrote {tmp_path / 'pack'}: 2 objects packed" in out
    assert read_object(open_pack(tmp_path / "pack"), "b").read_picture(3).shape == (64, 64, 4)
    code, _, err = drive("finish_only=true", f"pack={tmp_path / 'pack'}")
    assert (code, err.count("\n")) == (2, 1) and "the pack is there already" in err


def test_nothing_usable_is_a_failure(drive, factory):
    factory.add("a", "bad")
    code, out, _ = drive()
    assert code == 1
    assert "0 objects for training" in out
    assert not (factory.output / "meta.json").exists()


def test_limit(drive, factory):
    for uid in "abc":
        factory.add(uid)
    drive("limit=2")
    assert sorted(factory.begun()) == ["a", "b"]


def test_objaverse(drive, factory, monkeypatch, tmp_path):
    import types

    (tmp_path / "uids.txt").write_text("b\nc\n")

    def load_objects(uids, download_processes):
        return {uid: str(factory.add(uid)) for uid in uids}

    monkeypatch.setitem(sys.modules, "objaverse", types.SimpleNamespace(load_objects=load_objects))
    assert drive("input=null", f"objaverse={tmp_path / 'uids.txt'}", "val_share=0")[0] == 0
    assert listed(factory) == ["b", "c"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["input=null"], "give either input or objaverse"),
        (["objaverse=uids.txt"], "give either input or objaverse"),
        (["shard=0/2"], "shard=0/2 is not i/n"),
        (["ray_address=auto"], "give engine=ray as well"),
        (["blender=/no/blender"], "no Blender"),
        (["script=none.py"], "no Blender script"),
        (["input=/no/folder"], "no such folder or list of objects"),
        (["render.focal=0"], "render.focal=0.0 is not positive"),
        (["finish_only=true"], "no such folder of rendered objects"),
    ],
)
def test_mistakes_are_one_line(drive, factory, options, message):
    factory.add("a")
    code, _, err = drive(*options)
    assert code == 2
    assert message in err and err.startswith("error: ") and err.count("\n") == 1
    assert factory.begun() == []


def test_a_broken_blender_is_told_before_anything_fails(drive, factory):
    factory.add("a")
    factory.blender.write_text("#!/bin/sh\necho no libGL >&2\nexit 1\n")
    code, _, err = drive()
    assert code == 2 and "Blender does not start (no libGL)" in err
    assert (factory.output / "render_log.jsonl").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_driver_ends_its_blenders_and_goes_on_later(drive, factory, number):
    factory.add("a")
    factory.add("b", "slow 60")
    factory.add("c", "slow 60")
    factory.add("d")
    command = [sys.executable, "-m", "openlrm.launch", *factory.arguments()]
    process = subprocess.Popen(
        command,
        cwd=REPO,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell ignores SIGINT, and its children would.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 300
    while "c" not in factory.begun() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert [path.name for path in factory.output.iterdir() if path.is_dir()] == ["a"]
    assert not _running(str(factory.script))
    factory.add("b")
    factory.add("c")
    assert drive("val_share=0")[0] == 0
    assert Counter(factory.begun()) == {"a": 1, "b": 2, "c": 2, "d": 1}
    assert listed(factory) == ["a", "b", "c", "d"]


def _running(text: str) -> list[str]:
    """Command lines of running processes that have some text in them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if text in line and folder.name != str(os.getpid()):
            found.append(line)
    return found
