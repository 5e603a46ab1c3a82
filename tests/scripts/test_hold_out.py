"""The lists of what demonstration models never see."""

import csv
import importlib.util

import pytest


@pytest.fixture(scope="module")
def hold_out(repo):
    spec = importlib.util.spec_from_file_location("hold_out", repo / "scripts" / "data" / "hold_out.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path) -> dict[str, str]:
    return dict(line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("uid", "stem"),
    [
        ("book1", "book"),
        ("q_nature_bushberries_2", "q_nature_bushberries"),
        ("q_houses_firstage_1_level3", "q_houses"),
        ("42", "42"),
    ],
)
def test_variants_have_one_stem(hold_out, uid, stem):
    assert hold_out.stem_of(uid) == stem


def test_no_object_and_no_stem_is_on_two_lists(hold_out, repo):
    lists = {path.stem: read(path) for path in (repo / "configs" / "demo_lists").glob("*.txt")}
    assert set(lists) == {"train", "held_out", "never_trained_source", "left_out"}
    train, held = lists["train"], lists["held_out"]
    assert not {hold_out.stem_of(uid) for uid in train} & {hold_out.stem_of(uid) for uid in held}
    assert not set(train) & set(lists["never_trained_source"])
    assert len(held) >= 60 and len({path.split("/")[0] for path in held.values()}) >= 5
    assert {path.split("/")[0] for path in lists["never_trained_source"].values()} == {"quaternius_2019"}


def test_the_committed_lists_are_those_of_the_manifest(hold_out, repo, shared_dir):
    with open(shared_dir / "data" / "more" / "manifest.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("train", "held_out", "never_trained_source", "left_out"):
        expected = {row["file"] for row in rows if hold_out.list_of(row) == name}
        assert set(read(repo / "configs" / "demo_lists" / f"{name}.txt").values()) == expected
