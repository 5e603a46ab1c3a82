"""Named protocols: what they fix, and what is refused."""

import pytest

from openlrm.errors import UserError
from openlrm.evaluation.config import EvalConfig
from openlrm.evaluation.named import find_protocol, hash_of, protocol_names


def test_those_that_come_along():
    assert protocol_names() == ["lrm-own", "zeroshape-bf"]
    for name in protocol_names():
        config = EvalConfig(model_path="m", mesh_root="meshes")
        find_protocol(name).apply(config)
        again = EvalConfig(model_path="m", mesh_root="meshes", mesh_points=config.mesh_points)
        find_protocol(name).apply(again)  # what it fixes may be said
        assert again == config
    assert config.mesh_alignment == "search" and config.mesh_points == 10_000
    assert config.f_score_thresholds == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]


def test_its_own_protocol_changes_nothing():
    config = EvalConfig(model_path="m")
    find_protocol("lrm-own").apply(config)
    assert config == EvalConfig(model_path="m")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "zeroshape-bf needs mesh_root"),
        ({"mesh_root": "meshes", "mesh_points": 500}, "fixes mesh_points=10000, not 500"),
        ({"mesh_root": "meshes", "f_score_thresholds": [0.3]}, "fixes f_score_thresholds"),
    ],
)
def test_options_that_contradict_it(options, said):
    with pytest.raises(UserError, match=said):
        find_protocol("zeroshape-bf").apply(EvalConfig(model_path="m", **options))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("options: [a]", "not a protocol"),
        ("about: x", "not a protocol"),
        ("options: {}\nmore: 1", "not a protocol"),
        ("options: {sise: 3}", "unknown option sise"),
        ("options: {}\nneeds: [sise]", "unknown option sise"),
        ("options: {", "cannot read the protocol"),
        ("options: !!python/object/apply:os.system [ls]", "cannot read the protocol"),
    ],
)
def test_files_that_are_none(text, said, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        find_protocol(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_names_that_are_none():
    with pytest.raises(UserError, match="did you mean zeroshape-bf"):
        find_protocol("zeroshape_bf")
    with pytest.raises(UserError, match="lrm-own, zeroshape-bf or a YAML file"):
        find_protocol("../../secret")


def test_objects(tmp_path):
    assert hash_of(["b", "a"]) == hash_of(["a", "b"]) != hash_of(["a", "c"])
    (tmp_path / "mine.yaml").write_text(f"options: {{}}\nobjects_sha256: {hash_of(['a', 'b'])}")
    protocol = find_protocol(str(tmp_path / "mine.yaml"))
    protocol.check_objects(["b", "a"])
    with pytest.raises(UserError, match="for other objects than these 1"):
        protocol.check_objects(["a"])
