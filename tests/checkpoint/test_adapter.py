"""Adapter files: the golden folder, round trips, and what is refused in one line."""

import json
import os
import shutil

import numpy as np
import pytest
from mindspore import Tensor
from safetensors.numpy import load_file, save_file

from openlrm import ModelLRM
from openlrm.checkpoint.adapter import load_adapter, read_adapter, save_adapter, weight_hash
from openlrm.errors import UserError
from openlrm.nn.transformer import lora

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
KEY = "base_model.model.transformer.layers.{}.{}_attn.out_proj.lora_{}.weight"
pytestmark = pytest.mark.usefixtures("pynative")


@pytest.fixture
def folder(repo, tmp_path):
    """A copy of the golden adapter, which PEFT itself loaded."""
    for name in (WEIGHTS, CONFIG):
        shutil.copy(repo / "tests" / "golden" / "freqloss" / "adapter" / name, tmp_path / name)
    return tmp_path


def planes(model, golden) -> np.ndarray:
    return model.forward_planes(Tensor(golden["image"]), Tensor(golden["source_camera"])).asnumpy()


def edit_config(folder, **changes):
    config = json.loads((folder / CONFIG).read_text()) | changes
    (folder / CONFIG).write_text(json.dumps(config))


def edit_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_golden_folder(folder, mini, golden, freq_golden):
    load_adapter(mini, folder)
    assert lora.count_adapter(mini) == 4 * 2 * 4 * 64  # 4 L r d
    np.testing.assert_allclose(planes(mini, golden), freq_golden["mini/planes"], atol=1e-5)
    lora.merge(mini)
    np.testing.assert_allclose(planes(mini, golden), freq_golden["mini/planes"], atol=1e-5)


def test_written_as_the_golden_folder_and_back(folder, mini, golden, freq_golden, golden_dir):
    names = lora.attention_outputs(mini)
    matrices = dict(zip(names, zip(freq_golden["mini/A"], freq_golden["mini/B"], strict=True), strict=True))
    lora.attach(mini, matrices, freq_golden["mini/rank_alpha"][1])
    expected = planes(mini, golden)
    save_adapter(mini, folder / "mine", "golden miniature model")
    theirs, mine = ((load_file(place / WEIGHTS), place / CONFIG) for place in (folder, folder / "mine"))
    assert set(theirs[0]) == set(mine[0])
    assert all(np.abs(mine[0][key] - value).max() < 1e-6 for key, value in theirs[0].items())
    assert json.loads(mine[1].read_text()) == json.loads(theirs[1].read_text())

    other = ModelLRM.from_pretrained(str(golden_dir))
    load_adapter(other, folder / "mine")
    np.testing.assert_allclose(planes(other, golden), expected, atol=1e-5)
    # Read, written and read again it stays the same, byte for byte.
    save_adapter(other, folder / "again", "golden miniature model")
    assert (folder / "again" / WEIGHTS).read_bytes() == (folder / "mine" / WEIGHTS).read_bytes()
    save_adapter(other, folder / "again", "another name")  # an earlier adapter is replaced
    assert json.loads((folder / "again" / CONFIG).read_text())["base_model_name_or_path"] == "another name"


@pytest.mark.parametrize("subset", [[(0, "self")], [(0, "cross"), (1, "self")]])
def test_foreign_adapters_on_any_subset(subset, folder, mini, golden):
    """Short target names and the entries that PEFT adds, half precision, no hash."""
    kept = {KEY.format(i, kind, half) for i, kind in subset for half in "AB"}
    tensors = {key: value.astype(np.float16) for key, value in load_file(folder / WEIGHTS).items() if key in kept}
    save_file(tensors, folder / WEIGHTS)
    extra = {"alpha_pattern": {}, "init_lora_weights": True, "use_dora": False, "peft_version": "0.21.0"}
    edit_config(folder, target_modules=["out_proj"], **extra)
    before = {name: p.asnumpy().copy() for name, p in lora.base_parameters(mini).items()}
    assert len(load_adapter(mini, folder)) == len(subset)
    attached = planes(mini, golden)
    expected = {name: value.astype(float) for name, value in before.items()}
    for i, kind in subset:
        a, b = (tensors[KEY.format(i, kind, half)].astype(float) for half in "AB")
        expected[f"transformer.layers.{i}.{kind}_attn.out_proj.weight"] += 2 * b @ a
    lora.merge(mini)
    for name, parameter in mini.parameters_and_names():
        np.testing.assert_allclose(parameter.asnumpy(), expected[name], atol=1e-6)
    np.testing.assert_allclose(planes(mini, golden), attached, atol=1e-5)


def test_weight_hash_knows_the_base_alone(mini):
    before = weight_hash(mini)
    lora.attach_new(mini, 2)
    assert weight_hash(mini) == before
    lora.detach(mini)
    weight = mini.transformer.norm.bias
    values = weight.asnumpy().copy()
    values[0] = np.nextafter(values[0], np.float32(9))
    weight.set_data(Tensor(values))
    assert weight_hash(mini) != before


def drop(key):
    return lambda folder: edit_weights(folder, lambda tensors: tensors.pop(key))


def rename(new):
    def change(tensors):
        tensors[new] = tensors.pop(KEY.format(0, "self", "A"))

    return lambda folder: edit_weights(folder, change)


def link_outside(folder):
    outside = folder.parent / f"{folder.name}-elsewhere"
    outside.mkdir()
    shutil.move(folder / CONFIG, outside / CONFIG)
    os.symlink(outside / CONFIG, folder / CONFIG)


def shape(half, *size):
    def change(tensors):
        tensors[KEY.format(0, "self", half)] = np.ones(size, np.float32)

    return lambda folder: edit_weights(folder, change)


def fill(value, dtype=np.float32):
    def change(tensors):
        key = KEY.format(0, "self", "A")
        tensors[key] = np.full(tensors[key].shape, value, dtype)

    return lambda folder: edit_weights(folder, change)


def config(**changes):
    return lambda folder: edit_config(folder, **changes)


def add_layer(folder):
    edit_config(folder, target_modules=["out_proj"])
    added = {KEY.format(9, "self", half): np.ones(size, np.float32) for half, size in (("A", (4, 64)), ("B", (64, 4)))}
    edit_weights(folder, lambda tensors: tensors.update(added))


BROKEN = {
    "no folder": (lambda folder: shutil.rmtree(folder), "adapter not found"),
    "no config": (lambda folder: (folder / CONFIG).unlink(), f"the adapter has no {CONFIG}"),
    "no tensors' file": (lambda folder: (folder / WEIGHTS).unlink(), f"the adapter has no {WEIGHTS}"),
    "config elsewhere": (link_outside, "is a link that leads out of the adapter's folder"),
    "no JSON": (lambda folder: (folder / CONFIG).write_text("{"), "unreadable adapter config"),
    "a list": (lambda folder: (folder / CONFIG).write_text("[]"), "not a JSON object"),
    "nested": (lambda folder: (folder / CONFIG).write_text("[" * 100_000), "unreadable adapter config"),
    "cut short": (lambda folder: (folder / WEIGHTS).write_bytes(b"123456789"), "damaged safetensors file"),
    "another kind": (config(peft_type="IA3"), "peft_type is 'IA3'"),
    "DoRA": (config(use_dora=True), "adapters with use_dora are not supported"),
    "rank by layer": (config(rank_pattern={"x": 8}), "adapters with rank_pattern are not supported"),
    "bias": (config(bias="all"), "adapters with bias='all' are not supported"),
    "a start that moves the base": (config(init_lora_weights="pissa"), "init_lora_weights='pissa' changes the base's"),
    "rank 0": (config(r=0), "r=0 is not a rank"),
    "rank true": (config(r=True), "r=True is not a rank"),
    "alpha text": (config(lora_alpha="8"), "lora_alpha='8' is not a strength"),
    "alpha without end": (config(lora_alpha=float("inf")), "lora_alpha=inf is not a strength"),
    "another rank": (config(r=8), "the config says rank 8, the tensors have 4"),
    "a target without tensors": (config(target_modules=["out_proj", "q_proj"]), "names the target q_proj, of which"),
    "tensors without a target": (
        config(target_modules=["transformer.layers.0.self_attn.out_proj"]),
        "tensors of transformer.layers.0.cross_attn.out_proj, which the config does not name",
    ),
    "targets a number": (config(target_modules=7), "target_modules=7 is not a list of names"),
    "other target": (
        rename("base_model.model.transformer.layers.0.mlp.0.lora_A.weight"),
        "the adapter is for transformer.layers.0.mlp.0, not for an attention output",
    ),
    "other tensor": (rename("base_model.model.pos_embed"), "base_model.model.pos_embed is no lora_A or lora_B"),
    "half a pair": (drop(KEY.format(0, "self", "B")), "transformer.layers.0.self_attn.out_proj has no lora_B"),
    "no tensors": (lambda folder: edit_weights(folder, dict.clear), "the adapter holds no tensors"),
    "not a matrix": (shape("A", 4), r"lora_A.weight is float32 \(4,\), no matrix"),
    "whole numbers": (fill(1, np.int32), "is int32 .*, no matrix of floating point numbers"),
    "NaN": (fill(np.nan), "holds NaN or infinity"),
    "ranks differ": (shape("B", 64, 3), "the config says rank 4, the tensors have 3, 4"),
    "another width": (shape("A", 4, 48), "do not fit its width 64"),
    "a layer it lacks": (
        add_layer,
        "the model has no attention output transformer.layers.9.self_attn.out_proj",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_refused_in_one_line(name, folder, mini):
    breaks, message = BROKEN[name]
    breaks(folder)
    with pytest.raises(UserError, match=message) as raised:
        load_adapter(mini, folder)
    assert "\n" not in str(raised.value) and str(folder) in str(raised.value)
    assert not lora.adapters_of(mini)


def test_of_other_weights_or_twice(folder, mini):
    lora.attach_new(mini, 2)
    save_adapter(mini, folder / "mine", "mini")
    with pytest.raises(UserError, match="the model has an adapter already"):
        load_adapter(mini, folder / "mine")
    lora.detach(mini)
    mini.pos_embed.set_data(mini.pos_embed + 1)
    with pytest.raises(UserError, match=r"the adapter belongs to other weights \(mini\), not to this model's"):
        load_adapter(mini, folder / "mine")
    with pytest.raises(UserError, match="no adapter to write"):
        save_adapter(mini, folder / "none", "mini")
    assert not (folder / "none").exists()


def test_links_as_the_hub_keeps_them(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("models--someone--adapter")
    snapshot = cache / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    for name in (CONFIG, WEIGHTS):
        shutil.copy(folder / name, cache / "blobs" / f"{name}-blob")
        os.symlink(f"../../blobs/{name}-blob", snapshot / name)
    assert read_adapter(snapshot).rank == 4


def test_a_pattern_that_would_take_for_ever(folder):
    edit_config(folder, target_modules="(a|a)*(a|aa)+$" * 40)
    assert len(read_adapter(folder).matrices) == 4


def test_other_peoples_files_are_not_replaced(folder, mini):
    lora.attach_new(mini, 2)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"the folder holds other files \(notes.txt\)"):
        save_adapter(mini, folder, "mini")
    assert read_adapter(folder).rank == 4
