"""Which objects a run is validated on, and what its figures are called."""

import json
import shutil

import pytest

from openlrm.datasets import DataConfig, SubsetConfig, TrainItems
from openlrm.errors import UserError
from openlrm.training.config import ValidationConfig
from openlrm.training.held_out import choose_validation


@pytest.fixture
def root(tmp_path, repo_object):
    return write(tmp_path / "set", repo_object, ["t1", "t2"], ["v1"])


@pytest.fixture(scope="session")
def repo_object(repo):
    return repo / "assets" / "sample_object" / "food_dinner"


def write(root, source, training, validation=()):
    for uid in {*training, *validation}:
        shutil.copytree(source, root / uid)
    (root / "meta.json").write_text(json.dumps(training))
    if validation:
        (root / "meta_val.json").write_text(json.dumps(validation))
    return root


def choose(roots, overfit=0, more=(), **val):
    data = DataConfig(subsets=[SubsetConfig(root_dirs=[str(root)]) for root in (roots, *more)])
    val = ValidationConfig(**{"val_views": 2} | {key: str(v) if key == "val_root" else v for key, v in val.items()})
    items = TrainItems(data, 0)
    wanted = [uid for uid in items.uids if uid not in val.val_uids][: overfit or None]
    found, kind = choose_validation(data, val, TrainItems(data, 0, wanted), overfit > 0)
    return found.uids, kind


def test_list_beside_the_training_list_is_used(root):
    assert choose(root) == (["v1"], "held-out")


def test_list_of_the_validation_folder_is_used(root, tmp_path, repo_object):
    assert choose(root, val_root=root) == (["v1"], "held-out")
    other = write(tmp_path / "other", repo_object, ["a", "b"], ["c", "d"])
    assert choose(root, val_root=other) == (["c", "d"], "held-out")
    (other / "meta.json").unlink()
    assert choose(root, val_root=other) == (["c", "d"], "held-out")
    assert choose(root, val_root=other, val_uids=["d"]) == (["d"], "held-out")


def test_lists_of_all_training_folders_count(root, tmp_path, repo_object):
    second, third = (write(tmp_path / n, repo_object, [f"{n}1"], v) for n, v in (("a", ["a2"]), ("b", ())))
    assert choose(root, more=[second, third]) == (["v1", "a2"], "held-out")


def test_folder_without_a_list_for_validation_is_measured_whole(root, tmp_path, repo_object):
    assert choose(root, val_root=write(tmp_path / "other", repo_object, ["a", "b"])) == (["a", "b"], "held-out")


@pytest.mark.parametrize("uid", ["v1", "t1"])
def test_named_objects_may_be_in_either_list_and_are_held_out(root, uid):
    assert choose(root, val_uids=[uid]) == ([uid], "held-out")
    assert choose(root, val_uids=[uid], val_root=root) == ([uid], "held-out")


def test_training_objects_are_called_so(tmp_path, repo_object):
    plain = write(tmp_path / "plain", repo_object, ["a", "b"])
    assert choose(plain) == (["a", "b"], "training")


def test_overfitting_looks_at_what_is_learnt_by_heart(root):
    assert choose(root, overfit=1) == (["t1"], "training")
    assert choose(root, overfit=1, val_uids=["v1"]) == (["v1"], "held-out")


def linked(folder, uid, target):
    """A folder whose one object is a link to another's."""
    (folder / uid).parent.mkdir(parents=True)
    (folder / uid).symlink_to(target)
    (folder / "meta.json").write_text(json.dumps([uid]))
    return folder


def overlapping(root, tmp_path, source):
    """Ways in which an object gets into both: the folders, the list for validation, the options."""
    both = write(tmp_path / "both", source, ["x", "y"], ["v", "y"])
    yield both, ["v", "y"], {}
    plain = write(tmp_path / "plain", source, ["p"])
    yield plain, ["p"], {"val_root": plain}
    yield root, ["q", "t2"], {"val_root": write(tmp_path / "again", source, ["q", "t2"])}  # rendered again
    yield plain, ["deep/other"], {"val_root": linked(tmp_path / "above", "deep/other", plain / "p")}  # the same folder
    yield plain, ["./p/"], {"val_root": linked(tmp_path / "spelled", "./p/", plain / "p")}


@pytest.mark.parametrize("case", range(5))
def test_objects_trained_on_are_refused_by_name_or_called_so(root, tmp_path, repo_object, case):
    roots, uids, options = list(overlapping(root, tmp_path, repo_object))[case]
    with pytest.raises(UserError, match=f"1 of .* validation objects are trained on: {uids[-1]}: .*val_overlap=true"):
        choose(roots, **options)
    kind = "training" if len(uids) == 1 else "partly trained-on"
    assert choose(roots, val_overlap=True, **options) == (uids, kind)
    if len(uids) == 2:
        assert choose(roots, val_overlap=True, val_objects=1, **options) == (uids, "held-out"), "the first is new"


def test_stop_drop_needs_held_out_objects(root, tmp_path, repo_object):
    assert choose(root, stop_drop=1.0) == (["v1"], "held-out")
    plain = write(tmp_path / "plain", repo_object, ["a"])
    for options in ({}, {"val_root": plain, "val_overlap": True}):
        with pytest.raises(UserError, match=r"stop_drop.*1 of 1 are trained on"):
            choose(plain, stop_drop=1.0, **options)


def test_object_that_cannot_be_measured_is_told_at_once(root):
    with pytest.raises(UserError, match="views, 1000 are wanted"):
        choose(root, val_views=1000)
    shutil.rmtree(root / "v1")
    with pytest.raises(UserError, match="no object 'v1'"):
        choose(root)
