"""Lists, manifest and data card of a rendered set."""

import json
import sys

import numpy as np
import pytest

from openlrm.factory.data_card import write_data_card
from openlrm.factory.outcome import take_stock, write_lists
from openlrm.factory.render_log import RenderLog, read_logs
from openlrm.factory.split import is_validation
from openlrm.factory.work import Job, Result, render_one

UIDS = ("ant", "group/bee", "cat", "dog")


@pytest.fixture
def rendered(factory):
    """Four objects, one of them black, one without a line in the log, and one that failed."""
    log = None
    for uid, act in zip(UIDS, ("licensed CC-BY <b>|x", "render", "black", "render"), strict=True):
        path = factory.add(uid, act)
        result = render_one(Job(uid, str(path), str(factory.output), (sys.executable, str(factory.script)), 1, 20))
        log = log or RenderLog(factory.output)
        if uid != "dog":
            log.add(result)
    log.add(Result("eel", "failed", "corrupt | file"))
    log.close()
    (factory.output / "fox.part" / "rgba").mkdir(parents=True)
    return factory.output


def test_split(rendered):
    share = next(share for share in np.linspace(0, 1, 200) if sum(is_validation(uid, share) for uid in UIDS) == 1)
    outcome = take_stock(rendered, read_logs(rendered), share)
    usable = ["ant", "dog", "group/bee"]
    assert outcome.train == [uid for uid in usable if not is_validation(uid, share)]
    assert outcome.val == [uid for uid in usable if is_validation(uid, share)]
    assert list(outcome.flagged) == ["cat"] and outcome.flagged["cat"].startswith("black: ")
    assert outcome.failed == {"eel": "corrupt | file"}
    assert outcome.inspected["dog"]["stats"]["distance"] == [2, 2], "inspected now"


def test_something_is_left_to_train_on(rendered):
    outcome = take_stock(rendered, read_logs(rendered), 1.0)
    assert (outcome.train, outcome.val) == (["ant", "dog", "group/bee"], [])


def test_lists(rendered):
    outcome = take_stock(rendered, read_logs(rendered), 0.0)
    outcome.val = [outcome.train.pop()]
    write_lists(rendered, outcome)
    assert json.loads((rendered / "meta.json").read_text()) == ["ant", "dog"]
    assert json.loads((rendered / "meta_val.json").read_text()) == ["group/bee"]
    manifest = [json.loads(line) for line in (rendered / "manifest.jsonl").read_text().splitlines()]
    assert {line["uid"]: line["split"] for line in manifest} == {
        "ant": "train",
        "cat": "flagged",
        "dog": "train",
        "group/bee": "val",
    }
    assert manifest[0]["asset"] == {"license": "CC-BY <b>|x"} and manifest[0]["object"] == "ant.glb"
    outcome.train, outcome.val = outcome.train + outcome.val, []
    write_lists(rendered, outcome)
    assert not (rendered / "meta_val.json").exists(), "an earlier run's list would be wrong"


def test_data_card(rendered):
    outcome = take_stock(rendered, read_logs(rendered), 0.0)
    write_data_card(rendered, outcome, "CC0", "a shop")
    text = (rendered / "data_card.md").read_text()
    for row in (
        "| for training (meta.json) | 3 |",
        "| rendered but flagged | 1 |",
        "| failed | 1 |",
        "Source: a shop",
        "| CC0 | 2 |",
        "| CC-BY &lt;b>\\|x | 1 |",
        "| views of an object | 4 to 4, median 4 |",
        "| camera distance | 2 to 2, median 2 |",
        "| eel | corrupt \\| file |",
        "rendered at rest",
    ):
        assert row in text, row
    assert "| cat | black: " in text


def test_an_empty_folder(tmp_path):
    outcome = take_stock(tmp_path, {}, 0.1)
    write_lists(tmp_path, outcome)
    write_data_card(tmp_path, outcome, None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data_card.md", "manifest.jsonl"]
